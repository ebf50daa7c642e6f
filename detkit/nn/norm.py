"""Norms over the channels of maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position of a map."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FrozenNorm(nn.Module):
    """Batch norm in evaluation whose statistics and factors are buffers: as they were loaded, for ever.

    Scale and shift are computed in the buffers' dtype and applied in the map's, so that half precision stays half under
    autocast (torchvision's frozen norm returns float32 there). Unlike ``nn.BatchNorm2d`` it keeps no map for the backward pass.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        scale, shift = (factor.to(x.dtype)[:, None, None] for factor in (scale, shift))
        return torch.addcmul(shift, x, scale)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        """Take a batch norm's state too, leaving out its count of batches."""
        state_dict.pop(f"{prefix}num_batches_tracked", None)
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def frozen(norm: nn.BatchNorm2d) -> FrozenNorm:
    """Return ``norm`` as it is in evaluation, for good: for norms that no convolution can take in."""
    copy = FrozenNorm(norm.num_features, norm.eps).to(norm.running_mean)
    copy.load_state_dict(norm.state_dict())
    return copy
