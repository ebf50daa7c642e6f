"""RT-DETR's efficient hybrid encoder: attention within the coarsest level, convolutions between levels.

Wenyu Lv (Yian Zhao) et al., 2023, arXiv:2304.08069: "DETRs Beat YOLOs on Real-time Object Detection". All levels are
brought to one width; the coarsest passes AIFI; then levels are fused from coarse to fine and from fine to coarse.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from detkit.blocks.aifi import AIFI
from detkit.nn.conv import ConvNorm
from detkit.nn.levels import BottomUp, TopDown
from detkit.parts import BlockSpec, DownsampleSpec, Neck, NeckSpec, StageSpec, UpsampleSpec
from detkit.resample.conv_down import ConvDown
from detkit.resample.nearest import Nearest
from detkit.stages.repc3 import RepC3
from detkit.structures import Level


class HybridEncoder(NeckSpec):
    """Levels of one width, fused by convolutions after attention within the coarsest; the defaults are RT-DETR-R50's."""

    levels: int = Field(3, ge=2, le=5)
    """How many levels it reads and puts out, the coarsest of stride 32."""
    width: PositiveInt = 256
    """Channels of every level put out, and in between."""
    depth: PositiveInt = 3
    """Units in each fusion stage."""
    stage: StageSpec = RepC3()
    """What merges two levels."""
    intra: BlockSpec | None = AIFI()
    """What the coarsest level passes first; none for nothing."""
    upsample: UpsampleSpec = Nearest()
    """From a level to the next finer one."""
    downsample: DownsampleSpec = ConvDown(epsilon=1e-5, momentum=0.1)
    """From a level to the next coarser one."""

    @property
    def reads(self) -> tuple[int, ...]:
        """Strides it reads, finest first."""
        return tuple(32 >> shift for shift in reversed(range(self.levels)))

    def build(self, levels: Sequence[Level]) -> Neck:
        """Return the neck for maps of these levels."""
        return HybridEncoderNeck(self, levels)


class HybridEncoderNeck(Neck):
    """Parameters are named by the level that they make: ``top_down.p4`` fuses p5 into p4, after ``lateral.p5``."""

    def __init__(self, spec: HybridEncoder, levels: Sequence[Level]) -> None:
        super().__init__()
        width = spec.width
        self.out = tuple(Level(width, level.stride) for level in levels)
        self.projections, self.lateral = nn.ModuleDict(), nn.ModuleDict()
        self.top_down, self.bottom_up = nn.ModuleDict(), nn.ModuleDict()
        for level in levels:
            projection = ConvNorm(level.channels, width, activation=None, norm=nn.BatchNorm2d)
            self.projections[f"p{level.number}"] = projection
        self.intra = nn.Identity() if spec.intra is None else spec.intra.build(width)
        for fine, coarse in reversed(list(pairwise(levels))):
            self.lateral[f"p{coarse.number}"] = ConvNorm(width, width, norm=nn.BatchNorm2d)
            body = spec.stage.build(2 * width, width, spec.depth)
            self.top_down[f"p{fine.number}"] = TopDown(spec.upsample.build(width), body)
        for coarse in levels[1:]:
            body = spec.stage.build(2 * width, width, spec.depth)
            self.bottom_up[f"p{coarse.number}"] = BottomUp(spec.downsample.build(width, width), body)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One (B, channels, H, W) a level, finest first -> the same with ``width`` channels each."""
        maps = [project(x) for project, x in zip(self.projections.values(), maps, strict=True)]
        maps[-1] = self.intra(maps[-1])
        steps = zip(reversed(range(1, len(maps))), self.lateral.values(), self.top_down.values(), strict=True)
        for i, lateral, merge in steps:
            maps[i] = lateral(maps[i])  # which stands for the level from here on
            maps[i - 1] = merge(maps[i], maps[i - 1])
        for i, merge in enumerate(self.bottom_up.values(), 1):
            maps[i] = merge(maps[i - 1], maps[i])
        return maps
