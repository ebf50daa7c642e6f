"""What most backbones are: a stem, then stages that each put out one level."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from torch import Tensor, nn

from detkit.parts import Backbone
from detkit.structures import Level


class StagedBackbone(Backbone):
    """Stem and stages; stages coarser than the coarsest level asked for are not created.

    Args:
        given: what each stage puts out, finest first.
        levels: strides asked for; None for all.
        stem: image -> what the first stage reads.
        stages: yields them one by one, and is not asked for those that nobody reads.
        output_norm: channels -> a norm for what is put out; the next stage reads the map without it. None for no norm.
    """

    def __init__(
        self,
        given: Sequence[Level],
        levels: Sequence[int] | None,
        stem: nn.Module,
        stages: Iterable[nn.Module],
        output_norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.out = tuple(level for level in given if levels is None or level.stride in levels)
        self.taps = tuple(given.index(level) for level in self.out)
        self.stem = stem
        self.stages = nn.ModuleList(islice(stages, 1 + max(self.taps, default=-1)))
        self.norms = nn.ModuleDict()
        if output_norm is not None:
            self.norms.update({f"c{level.number}": output_norm(level.channels) for level in self.out})

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> for each level of ``out`` (B, channels, H / stride, W / stride)."""
        x, maps = self.stem(images), []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taps:
                maps.append(x)
        return [norm(x) for norm, x in zip(self.norms.values(), maps, strict=True)] if self.norms else maps
