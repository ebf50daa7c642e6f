"""A part that breaks by itself; importable by the tool that takes a step again."""

import torch
from torch import nn

from detkit.parts import BlockSpec


class Brittle(BlockSpec):
    """The image with the largest mean becomes NaN; or the gradient does, of finite values."""

    calls: int = 0
    """In training after which it begins."""
    backward: bool = False
    """Only the gradient breaks."""

    def build(self, channels):
        return BrittleBlock(self.calls, self.backward)


class BrittleBlock(nn.Module):
    def __init__(self, calls, backward):
        super().__init__()
        self.calls, self.backward = calls, backward
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, x):
        if not self.training:
            return x
        self.count += 1
        if self.count <= self.calls:
            return x
        if self.backward:
            return x + (x * 0).sqrt()
        mean = x.detach().mean((1, 2, 3), keepdim=True)
        return x.where(mean < mean.max(), torch.nan)
