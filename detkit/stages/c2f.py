"""C2f: YOLOv8's stage; every unit's output reaches the end."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from detkit.blocks.bottleneck import Bottleneck
from detkit.nn.csp import SplitCSP
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec, StageSpec


class C2f(StageSpec):
    """Units chained on one half of the channels, all their outputs merged."""

    unit: BlockSpec = Bottleneck()
    """What is chained inside."""
    expansion: float = Field(0.5, gt=0)
    """Width of the units, as a fraction of the outputs."""

    def build(self, inputs: int, outputs: int, depth: int) -> nn.Module:
        """Return a stage of ``depth`` units from ``inputs`` to ``outputs`` channels."""
        hidden = fraction(outputs, self.expansion)
        return SplitCSP(inputs, outputs, hidden, (self.unit.build(hidden) for _ in range(depth)))
