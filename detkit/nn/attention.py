"""What transformers over tokens are made of: attention of a set on itself, and the feed-forward.

Ashish Vaswani et al., 2017, arXiv:1706.03762: softmax(Q K^T / sqrt(d)) V in each of several heads.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    """Multi-head attention of tokens on one another; a position code reaches queries and keys, not values.

    ``qkv`` and ``project`` hold what ``nn.MultiheadAttention`` calls ``in_proj`` and ``out_proj``, shape by shape, and start
    with its initial values.

    Args:
        channels: of the tokens.
        heads: a divisor of ``channels``.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.channels, self.heads = channels, heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, position: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, T, C) -> same.

        Args:
            x: the tokens.
            position: (T, C) or (B, T, C), added to what queries and keys are made of.
            mask: (R, T) or (B, R, T) bool, True where the row's token may look at the column's; or `additive`. Tokens
                after the first R look at one another alone.
        """
        if position is None:
            query, key, value = self.qkv(x).chunk(3, -1)
        else:
            split = 2 * self.channels  # rows of the projection: queries and keys, then values
            weight, bias = self.qkv.weight, self.qkv.bias
            query, key = F.linear(x + position, weight[:split], bias[:split]).chunk(2, -1)
            value = F.linear(x, weight[split:], bias[split:])
        query, key, value = (item.unflatten(-1, (self.heads, -1)).transpose(1, 2) for item in (query, key, value))
        masked = 0 if mask is None else mask.shape[-2]
        found = []
        if mask is not None:
            found.append(F.scaled_dot_product_attention(query[:, :, :masked], key, value, mask[..., None, :, :]))
        if masked < x.shape[1]:
            rest = (item[:, :, masked:] for item in (query, key, value))
            found.append(F.scaled_dot_product_attention(*rest))
        return self.project(torch.cat(found, 2).transpose(1, 2).flatten(2))


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a bool mask as what is added to the logits, so that layers which share it need not each convert it."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -torch.inf)


def feedforward(channels: int, hidden: int, activation: Callable[[], nn.Module] = nn.GELU) -> nn.Sequential:
    """Return two linear layers over ``hidden`` channels, ``expand`` and ``reduce``, with an activation between."""
    layers = OrderedDict(expand=nn.Linear(channels, hidden), activation=activation(), reduce=nn.Linear(hidden, channels))
    return nn.Sequential(layers)


def held(values: Tensor) -> Tensor:
    """Keep float16 within its range, which a sum of residuals may leave; other dtypes are wide enough."""
    if values.dtype != torch.float16:
        return values
    limit = torch.finfo(values.dtype).max
    return values.clamp(-limit, limit)
