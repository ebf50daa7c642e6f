"""Convolution, batch norm and activation: what convolutional detectors are made of."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from detkit.nn.norm import FrozenNorm
from detkit.nn.packed import PackedConv


def yolo_norm(channels: int) -> nn.Module:
    """Return batch norm as the YOLO family has it."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.03)


NormKind = Literal["batch", "frozen"]
"""Batch norm that learns, or that stays as it was loaded."""


def norm_maker(kind: NormKind) -> Callable[[int], nn.Module]:
    """Return what makes norms of a kind, with PyTorch's own figures (eps 1e-5, momentum 0.1)."""
    return FrozenNorm if kind == "frozen" else nn.BatchNorm2d


def relu() -> nn.Module:
    """Return a ReLU that overwrites its input, which spares memory where that is a norm's or a sum's output."""
    return nn.ReLU(inplace=True)


class _DenseGradient(torch.autograd.Function):
    """The identity, whose gradient lies in memory without gaps, in the order of the value."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        channels_last = x.is_contiguous(memory_format=torch.channels_last)
        ctx.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.contiguous(memory_format=ctx.memory_format)


def dense_gradient(x: Tensor) -> Tensor:
    """Return ``x``; its gradient comes in one piece, as batch norm's backward pass wants it.

    What is concatenated afterwards gets its gradient as a part of a larger one, and that takes batch norm ten times as long.
    """
    return _DenseGradient.apply(x) if x.requires_grad else x


class ConvNorm(nn.Module):
    """A convolution, batch norm and an activation; pads so that stride 1 keeps the size.

    Args:
        inputs: channels.
        outputs: channels.
        kernel_size: odd, unless ``padding`` is given.
        stride: 1 or 2; stride 2 gives ceil(H/2), ceil(W/2).
        groups: of the convolution; ``groups=inputs`` is depthwise.
        activation: makes it; None leaves it out.
        norm: makes the norm for a number of channels: `yolo_norm`, ``nn.BatchNorm2d`` (PyTorch's own figures), `FrozenNorm`.
        padding: zeros on each side; None for as many as keep the size at stride 1.
        bias: of the convolution, which the norm makes idle; some published networks have it all the same.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 1,
        stride: int = 1,
        groups: int = 1,
        activation: Callable[[], nn.Module] | None = nn.SiLU,
        norm: Callable[[int], nn.Module] = yolo_norm,
        padding: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        padding = kernel_size // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, padding, groups=groups, bias=bias)
        self.norm = norm(outputs)
        self.activation = nn.Identity() if activation is None else activation()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        x = self.norm(self.conv(x))
        return dense_gradient(x) if isinstance(self.activation, nn.Identity) else self.activation(x)

    def fused(self) -> nn.Module:
        """Return one convolution with bias that equals this module in evaluation, and the activation."""
        conv = folded(self.conv, self.norm)
        if isinstance(self.activation, (nn.SiLU, nn.ReLU)):
            return PackedConv(conv, type(self.activation)(inplace=True))
        return PackedConv(conv, deepcopy(self.activation))


def folded(conv: nn.Conv2d, norm: Any) -> nn.Conv2d:
    """Return one convolution with bias that equals ``norm(conv(x))`` in evaluation; the batch norm may be frozen."""
    conv = deepcopy(conv)
    statistics = norm.running_mean, norm.running_var, norm.eps
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics, norm.weight, norm.bias)
    return conv


def folded_into(conv: nn.Conv2d, norm: Any) -> nn.Conv2d:
    """Return one 1x1 convolution with bias that equals ``conv(norm(x))`` in evaluation; nothing may be padded in between."""
    merged = deepcopy(conv)
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * scale
    moved = conv.weight.flatten(1) @ shift
    merged.weight = nn.Parameter(conv.weight * scale[:, None, None])
    merged.bias = nn.Parameter(moved if conv.bias is None else conv.bias + moved)
    return merged


class SeparableConv(nn.Module):
    """A depthwise 3x3 `ConvNorm`, then a pointwise one."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.depthwise = ConvNorm(inputs, inputs, kernel_size, groups=inputs)
        self.pointwise = ConvNorm(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.pointwise(self.depthwise(x))
