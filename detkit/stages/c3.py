"""C3: YOLOv5's stage; a CSP bottleneck with three convolutions."""

from __future__ import annotations

from pydantic import Field
from torch import nn

from detkit.blocks.bottleneck import Bottleneck
from detkit.nn.csp import BypassCSP
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec, StageSpec


class C3(StageSpec):
    """Units chained on a narrow path, merged with a bypass."""

    unit: BlockSpec = Bottleneck(kernel_sizes=(1, 3))
    """What is chained inside."""
    expansion: float = Field(0.5, gt=0)
    """Width of the units, as a fraction of the outputs."""

    def build(self, inputs: int, outputs: int, depth: int) -> nn.Module:
        """Return a stage of ``depth`` units from ``inputs`` to ``outputs`` channels."""
        hidden = fraction(outputs, self.expansion)
        return BypassCSP(inputs, outputs, hidden, (self.unit.build(hidden) for _ in range(depth)))
