"""RepVGG: a 3x3 and a 1x1 convolution side by side in training, one 3x3 convolution in inference.

Xiaohan Ding et al., 2021, arXiv:2101.03697: convolutions are linear, so norm3(conv3(x)) + norm1(conv1(x)) is one
convolution whose kernel is the sum of both, the 1x1 at the centre. This is RT-DETR's form: no identity branch, SiLU.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from detkit.nn.conv import ConvNorm, folded
from detkit.nn.packed import PackedConv
from detkit.parts import BlockSpec


class RepVGG(BlockSpec):
    """A 3x3 and a 1x1 convolution, each with batch norm, summed and activated; `fused` merges them."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        return RepVGGBlock(channels)


class RepVGGBlock(nn.Module):
    """SiLU of the sum of a ``dense`` (3x3) and a ``pointwise`` (1x1) convolution with norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense = ConvNorm(channels, channels, 3, activation=None, norm=nn.BatchNorm2d)
        self.pointwise = ConvNorm(channels, channels, activation=None, norm=nn.BatchNorm2d)
        self.activation = nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return self.activation(self.dense(x) + self.pointwise(x))

    def fused(self) -> nn.Module:
        """Return one 3x3 convolution with bias that equals the sum in evaluation, and the activation."""
        merged = folded(self.dense.conv, self.dense.norm)
        other = folded(self.pointwise.conv, self.pointwise.norm)
        merged.weight = nn.Parameter(merged.weight + F.pad(other.weight, (1, 1, 1, 1)))
        merged.bias = nn.Parameter(cast("Tensor", merged.bias) + cast("Tensor", other.bias))
        return PackedConv(merged, nn.SiLU(inplace=True))
