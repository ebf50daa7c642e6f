"""What most backbones are: a stem, then stages that each put out one level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    """

    def __init__(
        self, given: Sequence[Level], levels: Sequence[int] | None, stem: nn.Module, stages: Iterable[nn.Module]
    ) -> None:
        super().__init__()
        self.out = tuple(level for level in given if levels is None or level.stride in levels)
        self.taps = tuple(given.index(level) for level in self.out)
        self.stem = stem
        self.stages = nn.ModuleList(islice(stages, 1 + max(self.taps, default=-1)))

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> for each level of ``out`` (B, channels, H / stride, W / stride)."""
        x, maps = self.stem(images), []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taps:
                maps.append(x)
        return maps
