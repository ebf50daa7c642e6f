"""RetBlock, the block of RMT: a position code, an operator that mixes positions, and a feed-forward, each with shortcut.

RMT: Retentive Networks Meet Vision Transformers: Qihang Fan et al., 2023, arXiv:2309.11523 (CVPR 2024).
x = x + depthwise(x) (conditional position encoding), x = x + MaSA(norm(x)), x = x + feedforward(norm(x)).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from detkit.blocks.masa import MaSA, linear
from detkit.nn.norm import ChannelNorm
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec


class RetBlock(BlockSpec):
    """A pre-norm transformer block with convolutions in both halves; the articles' 'chunk' is ``MaSA()``, its default.

    Their 'whole' is ``MaSA(decomposed=False)``.
    """

    operator: BlockSpec = MaSA()
    """What mixes positions, between a norm and a shortcut."""
    expansion: PositiveFloat = 3.0
    """Width of the feed-forward, as a multiple of the channels; RMT has 3 and 4."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        return RetBlockModule(channels, self.operator.build(channels), fraction(channels, self.expansion))


class RetBlockModule(nn.Module):
    """The block; with ``layer_scale``, both halves start at almost nothing, as in the late stages of RMT-B and -L.

    Args:
        channels: of the map.
        operator: (B, C, H, W) -> same.
        hidden: channels inside the feed-forward.
        layer_scale: initial factor of both halves; None leaves the factors out.
    """

    official: ClassVar[Mapping[str, str | None]] = {
        "pos.conv": "position",
        "retention_layer_norm": "operator_norm",
        "retention": "operator",
        "gamma_1": "operator_scale",
        "final_layer_norm": "feedforward_norm",
        "ffn": "feedforward",
        "gamma_2": "feedforward_scale",
    }

    def __init__(self, channels: int, operator: nn.Module, hidden: int, layer_scale: float | None = None) -> None:
        super().__init__()
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.operator_norm = ChannelNorm(channels, eps=1e-6)
        self.operator = operator
        self.operator_scale = scale(channels, layer_scale)
        self.feedforward_norm = ChannelNorm(channels, eps=1e-6)
        self.feedforward = ConvFeedForward(channels, hidden)
        self.feedforward_scale = scale(channels, layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        x = x + self.position(x)
        x = x + scaled(self.operator(self.operator_norm(x)), self.operator_scale)
        return x + scaled(self.feedforward(self.feedforward_norm(x)), self.feedforward_scale)


class ConvFeedForward(nn.Module):
    """Two linear layers over channels; between them, a depthwise 3x3 convolution is added to what it reads."""

    official: ClassVar[Mapping[str, str | None]] = {"fc1": "expand", "dwconv.conv": "depthwise", "fc2": "reduce"}

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand = linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.reduce = linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        x = F.gelu(self.expand(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        x = x + self.depthwise(x)
        return self.reduce(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def scale(channels: int, initial: float | None) -> nn.Parameter | None:
    """Return a factor for each channel of channels-last maps, in the shape in which the authors store it."""
    return None if initial is None else nn.Parameter(torch.full((1, 1, 1, channels), initial))


def scaled(x: Tensor, factor: Tensor | None) -> Tensor:
    """Return the map (B, C, H, W) times a factor that `scale` made."""
    return x if factor is None else x * factor.to(x.dtype).permute(0, 3, 1, 2)
