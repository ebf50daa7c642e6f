"""RepC3 (CSPRep): RT-DETR's fusion stage; a bypass is added to re-parameterised units.

RT-DETR: Wenyu Lv (Yian Zhao) et al., 2023, arXiv:2304.08069. Unlike in C3, main path and bypass are summed, not
concatenated, and meet the outputs' width without a further convolution where they have it already.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from detkit.blocks.repvgg import RepVGG
from detkit.nn.conv import ConvNorm
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec, StageSpec


class RepC3(StageSpec):
    """Units chained on one path, a bypass added; the defaults are RT-DETR-R50's."""

    unit: BlockSpec = RepVGG()
    """What is chained inside."""
    expansion: float = Field(1.0, gt=0)
    """Width of the units, as a fraction of the outputs."""

    def build(self, inputs: int, outputs: int, depth: int) -> nn.Module:
        """Return a stage of ``depth`` units from ``inputs`` to ``outputs`` channels."""
        return RepC3Stage(self, inputs, outputs, depth)


class RepC3Stage(nn.Module):
    """``merge(blocks(main(x)) + side(x))``; where the units are as wide as the outputs, ``merge`` does nothing."""

    def __init__(self, spec: RepC3, inputs: int, outputs: int, depth: int) -> None:
        super().__init__()
        hidden = fraction(outputs, spec.expansion)
        self.main = ConvNorm(inputs, hidden, norm=nn.BatchNorm2d)
        self.side = ConvNorm(inputs, hidden, norm=nn.BatchNorm2d)
        self.blocks = nn.Sequential(*(spec.unit.build(hidden) for _ in range(depth)))
        self.merge = nn.Identity() if hidden == outputs else ConvNorm(hidden, outputs, norm=nn.BatchNorm2d)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.merge(self.blocks(self.main(x)) + self.side(x))
