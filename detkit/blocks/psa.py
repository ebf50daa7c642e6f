"""Position-sensitive attention: the unit of YOLO11's C2PSA.

YOLOv10: Ao Wang et al., 2024, arXiv:2405.14458 (partial self-attention). Attention over all positions with keys half as
wide as values and a depthwise convolution of the values as position code, then a feed-forward of two 1x1 convolutions:
y = x + attention(x); z = y + feedforward(y).
"""

from __future__ import annotations

from collections import OrderedDict

from pydantic import PositiveInt
from torch import Tensor, nn

from detkit.nn.conv import ConvNorm
from detkit.nn.fitted import Fit, fitted
from detkit.nn.widths import largest_divisor
from detkit.parts import BlockSpec


class PSA(BlockSpec):
    """Self-attention over all positions and a feed-forward, both with shortcut."""

    head_channels: PositiveInt = 64
    """Ceiling of the channels of one head; the largest divisor of the map's channels not above it is used."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        width = largest_divisor(channels, self.head_channels)
        return fitted(PSABlock(channels, channels // width), Fit("head_channels", self.head_channels, width, channels))


class PSABlock(nn.Module):
    """Attention, then feed-forward, each added to its input."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = PositionSensitiveAttention(channels, heads)
        expand, reduce = ConvNorm(channels, 2 * channels), ConvNorm(2 * channels, channels, activation=None)
        self.feedforward = nn.Sequential(OrderedDict(expand=expand, reduce=reduce))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        x = x + self.attention(x)
        return x + self.feedforward(x)


class PositionSensitiveAttention(nn.Module):
    """Multi-head attention over positions; keys are half as wide as values, whose depthwise convolution is added."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.value_width = channels // heads
        self.key_width = max(1, self.value_width // 2)
        self.qkv = ConvNorm(channels, heads * (2 * self.key_width + self.value_width), activation=None)
        self.position = ConvNorm(channels, channels, 3, groups=channels, activation=None)
        self.project = ConvNorm(channels, channels, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        batch, channels, height, width = x.shape
        heads = self.qkv(x).reshape(batch, self.heads, -1, height * width)  # of each head: query, key, value
        query, key, value = heads.split((self.key_width, self.key_width, self.value_width), 2)
        weights = ((query * self.key_width**-0.5).mT @ key).softmax(-1)
        mixed = value @ weights.mT
        values = value.reshape(batch, channels, height, width)
        return self.project(mixed.reshape(batch, channels, height, width) + self.position(values))
