"""The layers of HGNetv2: a plain convolution, and a light one that mixes channels first and positions after.

PP-HGNetV2 of PaddleClas, 2023, without an article; used by RT-DETR: Yian Zhao et al., 2023, arXiv:2304.08069.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from detkit.nn.conv import ConvNorm, NormKind, norm_maker, relu
from detkit.parts import BlockSpec, Odd


class HGLayer(BlockSpec):
    """A layer that can also change the width, as the first of every HG block does."""

    norm: NormKind = "batch"
    """Batch norm; "frozen" is for loaded weights only: it never changes."""

    @abstractmethod
    def layer(self, inputs: int, outputs: int) -> nn.Module:
        """Return the layer, (B, inputs, H, W) -> (B, outputs, H, W)."""

    def build(self, channels: int) -> nn.Module:
        """Return the layer for maps of ``channels``."""
        return self.layer(channels, channels)


class HGConv(HGLayer):
    """A convolution, norm and ReLU."""

    kernel_size: Odd = 3
    """Of the convolution."""

    def layer(self, inputs: int, outputs: int) -> nn.Module:
        """Return the layer, (B, inputs, H, W) -> (B, outputs, H, W)."""
        return hg_conv(inputs, outputs, self.kernel_size, norm=self.norm)


class LightConv(HGLayer):
    """A pointwise convolution without activation, then a depthwise one with ReLU."""

    kernel_size: Odd = 5
    """Of the depthwise convolution."""

    def layer(self, inputs: int, outputs: int) -> nn.Module:
        """Return the layer, (B, inputs, H, W) -> (B, outputs, H, W)."""
        return LightConvBlock(inputs, outputs, self.kernel_size, self.norm)


class LightConvBlock(nn.Module):
    """y = relu(depthwise(pointwise(x))), both with norm."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, norm: NormKind) -> None:
        super().__init__()
        self.pointwise = hg_conv(inputs, outputs, activation=None, norm=norm)
        self.depthwise = hg_conv(outputs, outputs, kernel_size, groups=outputs, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.depthwise(self.pointwise(x))


def hg_conv(
    inputs: int,
    outputs: int,
    kernel_size: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = relu,
    norm: NormKind = "batch",
    padding: int | None = None,
) -> ConvNorm:
    """Return a `ConvNorm` as HGNetv2 has it: PyTorch's norm, ReLU, Kaiming-normal initial weights."""
    module = ConvNorm(inputs, outputs, kernel_size, stride, groups, activation, norm_maker(norm), padding)
    nn.init.kaiming_normal_(module.conv.weight)
    return module
