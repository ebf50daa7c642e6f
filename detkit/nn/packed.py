"""A convolution for inference, which on a CPU keeps its weights in the order in which oneDNN reads them.

Eager PyTorch brings the weights of a convolution into that order at every call, and runs an activation as a pass of its own.
Both are spared by the operators that PyTorch's compiler uses for this.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from detkit.nn.cached import Cached


class PackedConv(nn.Module):
    """A convolution and its activation, for inference; where a gradient, a graph or another device is asked for, the plain two.

    Args:
        conv: with so many zeros around its input, if any.
        activation: None for none; SiLU and ReLU become part of the convolution on a CPU.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = conv
        self.activation = nn.Identity() if activation is None else activation
        self._geometry = conv.padding, conv.stride, conv.dilation, conv.groups
        self._merged = {nn.Identity: "none", nn.SiLU: "swish", nn.ReLU: "relu"}.get(type(self.activation))
        self._packed = Cached(limit=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W')."""
        conv = self.conv
        weight = conv.weight
        if self._merged is None or not packable(x, weight):
            return self.activation(conv(x))
        packed = self._packed((weight.data_ptr(), weight._version), lambda: self._pack(x))
        pointwise = torch.ops.mkldnn._convolution_pointwise.default  # without .default it is looked for at every call
        return cast("Tensor", pointwise(x, packed, conv.bias, *self._geometry, self._merged, [], ""))

    def _pack(self, x: Tensor) -> Tensor:
        """Return the weights in the best order for inputs like ``x``; any other size may use them too."""
        weight = self.conv.weight.detach()
        return cast("Tensor", torch.ops.mkldnn._reorder_convolution_weight(weight, *self._geometry, list(x.shape)))


def packable(x: Tensor, weight: Tensor) -> bool:
    """Say whether oneDNN's own operators will do: in eager inference, in float32, on a CPU that has them."""
    return (
        not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        and not weight.is_inference()
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
    )
