"""PAN: from coarse to fine, then from fine to coarse.

FPN: Tsung-Yi Lin et al., 2016, arXiv:1612.03144. PANet: Shu Liu et al., 2018, arXiv:1803.01534.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from detkit.blocks.bottleneck import Bottleneck
from detkit.nn.levels import BottomUp, TopDown
from detkit.parts import DownsampleSpec, Neck, NeckSpec, StageSpec, UpsampleSpec
from detkit.resample.conv_down import ConvDown
from detkit.resample.nearest import Nearest
from detkit.stages.c2f import C2f
from detkit.structures import Level

if TYPE_CHECKING:
    from typing_extensions import Self


class PAN(NeckSpec):
    """Path aggregation over as many levels as there are widths, the coarsest of stride 32; the defaults are YOLOv8n's.

    Stages are listed in the order in which they run: for p3 to p5 they make p4, p3 (top-down), then p4, p5 (bottom-up).
    """

    widths: tuple[PositiveInt, ...] = Field((64, 128, 256), min_length=2, max_length=5)
    """Channels of each level put out, finest first."""
    depths: tuple[PositiveInt, ...] = (1, 1, 1, 1)
    """Units in each stage."""
    stages: tuple[StageSpec, ...] = (C2f(unit=Bottleneck(shortcut=False)),) * 4
    """What merges two levels."""
    upsample: UpsampleSpec = Nearest()
    """From a level to the next finer one."""
    downsample: DownsampleSpec = ConvDown()
    """From a level to the next coarser one."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        count = 2 * (len(self.widths) - 1)
        for name in ("depths", "stages"):
            given = len(getattr(self, name))
            if given != count:
                raise ValueError(f"{len(self.widths)} widths need {count} {name} (top-down, then bottom-up), not {given}")
        return self

    @property
    def reads(self) -> tuple[int, ...]:
        """Strides it reads, finest first."""
        return tuple(32 >> shift for shift in reversed(range(len(self.widths))))

    def build(self, levels: Sequence[Level]) -> Neck:
        """Return the neck for maps of these levels."""
        return PANNeck(self, levels)


class PANNeck(Neck):
    """``top_down`` and ``bottom_up`` hold one merging step for each level that they make, named p4, p3, ..."""

    def __init__(self, spec: PAN, levels: Sequence[Level]) -> None:
        super().__init__()
        self.out = tuple(Level(width, level.stride) for width, level in zip(spec.widths, levels, strict=True))
        bodies = iter(zip(spec.stages, spec.depths, strict=True))
        carried = [level.channels for level in levels]  # of the map that stands for each level, as the paths go on
        self.top_down, self.bottom_up = nn.ModuleDict(), nn.ModuleDict()
        for i in reversed(range(len(levels) - 1)):
            stage, depth = next(bodies)
            body = stage.build(carried[i + 1] + carried[i], spec.widths[i], depth)
            self.top_down[f"p{levels[i].number}"] = TopDown(spec.upsample.build(carried[i + 1]), body)
            carried[i] = spec.widths[i]
        for i in range(1, len(levels)):
            stage, depth = next(bodies)
            body = stage.build(carried[i - 1] + carried[i], spec.widths[i], depth)
            self.bottom_up[f"p{levels[i].number}"] = BottomUp(spec.downsample.build(carried[i - 1], carried[i - 1]), body)
            carried[i] = spec.widths[i]

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One (B, channels, H, W) a level, finest first -> the same with the channels of ``out``."""
        maps = list(maps)
        for i, merge in zip(reversed(range(len(maps) - 1)), self.top_down.values(), strict=True):
            maps[i] = merge(maps[i + 1], maps[i])
        for i, merge in zip(range(1, len(maps)), self.bottom_up.values(), strict=True):
            maps[i] = merge(maps[i - 1], maps[i])
        return maps
