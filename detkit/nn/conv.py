"""Convolution, batch norm and activation: what the YOLO family is made of."""

from __future__ import annotations

from copy import deepcopy

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights


class ConvNorm(nn.Module):
    """A convolution without bias, batch norm and SiLU; pads so that stride 1 keeps the size.

    Args:
        inputs: channels.
        outputs: channels.
        kernel_size: odd.
        stride: 1 or 2; stride 2 gives ceil(H/2), ceil(W/2).
        groups: of the convolution; ``groups=inputs`` is depthwise.
        activate: False leaves the activation out.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int = 1, stride: int = 1, groups: int = 1, activate: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)
        self.activation = nn.SiLU() if activate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        return self.activation(self.norm(self.conv(x)))

    def fused(self) -> nn.Module:
        """Return one convolution with bias that equals this module in evaluation, and the activation."""
        conv, norm = deepcopy(self.conv), self.norm
        mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, None, mean, variance, norm.eps, norm.weight, norm.bias)
        return nn.Sequential(conv, nn.SiLU(inplace=True)) if isinstance(self.activation, nn.SiLU) else conv


class SeparableConv(nn.Module):
    """A depthwise 3x3 `ConvNorm`, then a pointwise one."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.depthwise = ConvNorm(inputs, inputs, kernel_size, groups=inputs)
        self.pointwise = ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.pointwise(self.depthwise(x))
