"""The residual bottleneck of the YOLO family: two convolutions and a shortcut.

Deep residual learning: Kaiming He et al., 2015, arXiv:1512.03385: y = x + f(x).
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn

from detkit.nn.conv import ConvNorm
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec, Odd


class Bottleneck(BlockSpec):
    """Two convolutions with a shortcut; the unit of YOLOv8's and YOLO11's stages."""

    shortcut: bool = True
    """Add the input to the output."""
    expansion: float = Field(1.0, gt=0)
    """Width between the two convolutions, as a fraction of the channels."""
    kernel_sizes: tuple[Odd, Odd] = (3, 3)
    """Of the two convolutions."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        return BottleneckBlock(channels, fraction(channels, self.expansion), self.kernel_sizes, self.shortcut)


class BottleneckBlock(nn.Module):
    """y = x + second(first(x)), or without the shortcut."""

    def __init__(self, channels: int, hidden: int, kernel_sizes: tuple[int, int], shortcut: bool) -> None:
        super().__init__()
        self.first = ConvNorm(channels, hidden, kernel_sizes[0])
        self.second = ConvNorm(hidden, channels, kernel_sizes[1])
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        y = self.second(self.first(x))
        return x + y if self.shortcut else y
