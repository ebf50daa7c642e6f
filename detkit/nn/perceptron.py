"""Fully connected layers on the last axis."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F


class Perceptron(nn.Module):
    """Linear layers with ReLU between them.

    Args:
        widths: of the input, of each hidden layer, of the output.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x), inplace=True)
        return self.layers[-1](x)


def zero_last(perceptron: nn.Module) -> None:
    """Let the output be zero at first."""
    last = list(perceptron.parameters())[-2:]
    for parameter in last:
        nn.init.zeros_(parameter)
