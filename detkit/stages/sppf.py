"""SPPF: pooling at several scales, on top of the backbone.

Spatial pyramid pooling: Kaiming He et al., 2014, arXiv:1406.4729; chained poolings of one size see what parallel ones of
growing size see.
"""

from __future__ import annotations

from pydantic import PositiveInt
from torch import Tensor, cat, nn

from detkit.nn.conv import ConvNorm
from detkit.nn.widths import fraction
from detkit.parts import Odd, StageSpec


class SPPF(StageSpec):
    """Chained max poolings of stride 1, all merged; has no units, so depth doesn't matter."""

    kernel_size: Odd = 5
    """Of each pooling."""
    poolings: PositiveInt = 3
    """In the chain."""

    def build(self, inputs: int, outputs: int, depth: int) -> nn.Module:
        """Return the stage from ``inputs`` to ``outputs`` channels."""
        return SPPFStage(inputs, outputs, self.kernel_size, self.poolings)


class SPPFStage(nn.Module):
    """Halve the channels, pool again and again, merge the input of the chain and every pooling."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, poolings: int) -> None:
        super().__init__()
        hidden = fraction(inputs, 0.5)
        self.poolings = poolings
        self.reduce = ConvNorm(inputs, hidden)
        self.pool = nn.MaxPool2d(kernel_size, 1, kernel_size // 2)
        self.merge = ConvNorm((1 + poolings) * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        maps = [self.reduce(x)]
        for _ in range(self.poolings):
            maps.append(self.pool(maps[-1]))
        return self.merge(cat(maps, 1))
