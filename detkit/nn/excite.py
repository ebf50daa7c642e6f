"""Squeeze-and-excitation: channels weighted by what the whole map holds.

Squeeze-and-Excitation Networks: Jie Hu et al., 2017, arXiv:1709.01507: y = x * sigmoid(expand(act(reduce(mean(x))))).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from detkit.nn.conv import relu


class SqueezeExcite(nn.Module):
    """One factor in (0, 1) for each channel of an image.

    Args:
        channels: of the map.
        hidden: channels between the two layers.
        activation: makes the one between them.
    """

    def __init__(self, channels: int, hidden: int, activation: Callable[[], nn.Module] = relu) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return x * self.expand(self.activation(self.reduce(x.mean((2, 3), keepdim=True)))).sigmoid()
