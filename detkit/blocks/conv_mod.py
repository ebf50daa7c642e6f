"""ConvMod: a large depthwise convolution weights the values, as attention does, at the cost of a convolution.

Conv2Former: A Simple Transformer-Style ConvNet for Visual Recognition: Qibin Hou et al., 2022, arXiv:2211.11943. With the
normed map n: modulation(x) = project(depthwise(gelu(expand(n))) * value(n)), where all but the depthwise convolution are 1x1;
y = x + s * modulation(x); z = y + t * feedforward(y), with learned scales s and t for each channel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn.functional import gelu

from detkit.nn.norm import ChannelNorm
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec, Odd


class ConvMod(BlockSpec):
    """Convolutional modulation and a feed-forward, both with shortcut; Conv2Former's block."""

    kernel_size: Odd = 11
    """Of the depthwise convolution; Conv2Former-N has 7."""
    expansion: PositiveFloat | None = 4.0
    """Width of the feed-forward, as a fraction of the channels; none leaves it out: modulation alone."""
    layer_scale: float = Field(1.0, gt=0)
    """Both scales at the start.

    Conv2Former's 1e-6 serves 15 to 60 blocks in a row, trained for hundreds of epochs; in a detector trained from scratch,
    such a block would do nothing for long. With the authors' small initial weights a unit is near the identity at 1 too.
    """

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        return ConvModBlock(channels, self.kernel_size, self.expansion, self.layer_scale)


class ConvModBlock(nn.Module):
    """Modulation, then feed-forward, each scaled and added to its input.

    Args:
        channels: in and out.
        kernel_size: of the depthwise convolution, odd.
        expansion: of the feed-forward; None leaves it out.
        layer_scale: of both, at the start.
    """

    official: ClassVar[Mapping[str, str | None]] = {
        "layer_scale_1": "modulation_scale",
        "attn": "modulation",
        "layer_scale_2": "feedforward_scale",
        "mlp": "feedforward",
    }

    def __init__(self, channels: int, kernel_size: int = 11, expansion: float | None = 4.0, layer_scale: float = 1.0) -> None:
        super().__init__()
        self.modulation = Modulation(channels, kernel_size)
        self.modulation_scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.feedforward: ConvFeedForward | None = None
        if expansion is not None:
            self.feedforward = ConvFeedForward(channels, fraction(channels, expansion))
            self.feedforward_scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        x = x + self.modulation_scale[:, None, None] * self.modulation(x)
        if self.feedforward is None:
            return x
        return x + self.feedforward_scale[:, None, None] * self.feedforward(x)


class Modulation(nn.Module):
    """Values of each position, times what a large window around it says.

    Args:
        channels: in and out.
        kernel_size: of the window.
    """

    official: ClassVar[Mapping[str, str | None]] = {
        "att.0": "context.expand",
        "att.2": "context.depthwise",
        "v": "value",
        "proj": "project",
    }

    def __init__(self, channels: int, kernel_size: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, eps=1e-6)
        expand = nn.Conv2d(channels, channels, 1)
        depthwise = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.context = nn.Sequential(OrderedDict(expand=expand, activation=nn.GELU(), depthwise=depthwise))
        self.value = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        x = self.norm(x)
        return self.project(self.context(x) * self.value(x))


class ConvFeedForward(nn.Module):
    """Two 1x1 convolutions with a depthwise 3x3 between them, which has a shortcut and is activated inside it.

    Args:
        channels: in and out.
        hidden: channels between.
    """

    official: ClassVar[Mapping[str, str | None]] = {"fc1": "expand", "pos": "depthwise", "fc2": "reduce"}

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, eps=1e-6)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.reduce = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        hidden = gelu(self.expand(self.norm(x)))
        return self.reduce(hidden + gelu(self.depthwise(hidden)))


def initialise(module: nn.Module) -> None:
    """Give a convolution the authors' initial weights: normal, of deviation 0.02, and no bias."""
    if isinstance(module, nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
