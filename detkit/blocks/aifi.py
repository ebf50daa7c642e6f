"""AIFI, attention-based intra-scale feature interaction: a transformer over the positions of one map.

RT-DETR: Wenyu Lv (Yian Zhao) et al., 2023, arXiv:2304.08069. Post-norm layers, x = norm(x + attention(x)),
x = norm(x + feedforward(x)), whose queries and keys know their positions by sines and cosines. RT-DETR runs one on its
coarsest map only, where tokens are few and mean most.
"""

from __future__ import annotations

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from detkit.boxes import lift
from detkit.nn.attention import SelfAttention, feedforward, held
from detkit.nn.cached import Cached
from detkit.nn.fitted import Fit, fitted
from detkit.nn.widths import largest_divisor
from detkit.parts import BlockSpec

TEMPERATURE = 10000.0
"""Ratio of the longest wave of the position code to the shortest (arXiv:1706.03762)."""


class AIFI(BlockSpec):
    """Transformer layers over all positions of a map; the defaults are RT-DETR's."""

    layers: PositiveInt = 1
    """Transformer layers, one after the other."""
    heads: PositiveInt = 8
    """Heads of attention; the largest divisor of the map's channels not above it is used."""
    feedforward: PositiveInt | None = None
    """Channels inside the feed-forward; none for four times the map's."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        hidden = 4 * channels if self.feedforward is None else self.feedforward
        heads = largest_divisor(channels, self.heads)
        return fitted(AIFIBlock(channels, self.layers, heads, hidden), Fit("heads", self.heads, heads, channels))


class AIFIBlock(nn.Module):
    """Flattens a map to tokens, which pass the layers, and folds them again."""

    def __init__(self, channels: int, layers: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransformerLayer(channels, heads, hidden) for _ in range(layers))
        self.codes = Cached()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        channels, height, width = x.shape[1:]
        position = self.codes((height, width, x.dtype, x.device), lambda: position_code(height, width, channels, x).to(x.dtype))
        tokens = x.flatten(2).mT
        for layer in self.layers:
            tokens = layer(tokens, position)
        return tokens.mT.reshape(x.shape)


class TransformerLayer(nn.Module):
    """Attention, then feed-forward, each added to its input and then normalised."""

    def __init__(self, channels: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = SelfAttention(channels, heads)
        self.attention_norm = nn.LayerNorm(channels)
        self.feedforward = feedforward(channels, hidden)
        self.feedforward_norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, position: Tensor) -> Tensor:
        """(B, T, C), position (T, C) -> (B, T, C)."""
        x = self.attention_norm(held(x + self.attention(x, position)))
        return self.feedforward_norm(held(x + self.feedforward(x)))


def position_code(height: int, width: int, channels: int, like: Tensor) -> Tensor:
    """Return the sines and cosines (H * W, C) of each position, on the device of ``like`` and in its (lifted) precision.

    A quarter of the channels each is sin(x), cos(x), sin(y), cos(y); where C is no multiple of 4, the last ones are cut.
    The rows go column by column although tokens go row by row, as in the weights that RT-DETR's authors released: token
    number i gets the code of x = i // H, y = i % H. On square maps that only exchanges x and y.
    """
    quarter = -(-channels // 4)
    steps = torch.arange(quarter, device=like.device, dtype=lift(like).dtype)
    x, y = (torch.arange(size, device=like.device, dtype=steps.dtype) for size in (width, height))
    x, y = torch.meshgrid(x, y, indexing="ij")
    frequencies = TEMPERATURE ** (-steps / quarter)
    angles = [item.reshape(-1, 1) * frequencies for item in (x, y)]
    return torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], 1)[:, :channels]
