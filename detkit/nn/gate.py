"""A gate that lets a new part in without disturbing what is there."""

import torch
from torch import Tensor, nn


def blend(gate: Tensor, old: Tensor, new: Tensor) -> Tensor:
    """Return old + g * (new - old) with one gate g a channel, in the dtype of ``old``.

    Args:
        gate: (C,).
        old: (B, C, H, W).
        new: of the same shape.
    """
    return old + gate.to(old.dtype)[:, None, None] * (new.to(old.dtype) - old)


class Gated(nn.Module):
    """y = x + g * (block(x) - x) with one gate per channel, zero at the start: the identity, to the bit."""

    def __init__(self, block: nn.Module, channels: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(channels))
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return blend(self.gate, x, self.block(x))
