"""C3k: a small CSP network as a unit; what YOLO11 hosts in its deeper stages."""

from __future__ import annotations

from pydantic import Field, PositiveInt
from torch import nn

from detkit.blocks.bottleneck import Bottleneck
from detkit.nn.csp import BypassCSP
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec


class C3k(BlockSpec):
    """Units on half of the channels, merged with a bypass; C3 in the place of a unit."""

    unit: BlockSpec = Bottleneck()
    """What is chained inside."""
    depth: PositiveInt = 2
    """Units inside."""
    expansion: float = Field(0.5, gt=0)
    """Width of the units, as a fraction of the channels."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        hidden = fraction(channels, self.expansion)
        return BypassCSP(channels, channels, hidden, (self.unit.build(hidden) for _ in range(self.depth)))
