"""A gate that lets a new part in without disturbing what is there."""

import torch
from torch import Tensor, nn


class Gated(nn.Module):
    """y = x + g * (block(x) - x) with one gate per channel, zero at the start: the identity, to the bit."""

    def __init__(self, block: nn.Module, channels: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(channels))
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return x + self.gate.to(x.dtype)[:, None, None] * (self.block(x).to(x.dtype) - x)
