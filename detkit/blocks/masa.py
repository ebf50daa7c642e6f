"""MaSA, Manhattan self-attention: attention over the positions of a map that fades with their distance.

RMT: Retentive Networks Meet Vision Transformers: Qihang Fan et al., 2023, arXiv:2309.11523 (CVPR 2024). In head h, position
i looks at j with the weight softmax_j(q_i k_j / sqrt(d) + |i - j| log g_h), where |i - j| is the Manhattan distance and
g_h = 1 - 2^(-decay - decay_range h / heads): the first head sees its neighbourhood, the last one nearly everything. The
article multiplies the softmax by g^|i - j|; its code, which this follows, has the decay before the softmax. A 5x5 depthwise
convolution of the values is added (local context enhancement). Decomposed, each row attends to itself, then each column.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from detkit.boxes import lift
from detkit.nn.cached import Cached
from detkit.nn.fitted import Fit, fitted
from detkit.nn.widths import largest_divisor
from detkit.parts import BlockSpec

LONGEST_WAVE = 10000.0
"""The slowest pair of a head's channels turns this many times slower than the fastest, which turns by 1 a position."""


class MaSA(BlockSpec):
    """Attention that fades with the Manhattan distance; an operator: without norm and shortcut, which `RetBlock` adds."""

    heads: PositiveInt = 8
    """Ceiling of the heads: the most that divide the channels into heads of an even width, or of any where that is odd.

    Pairs of a head's channels tell where a position is; the odd one, or the only one, does not.
    """
    decomposed: bool = True
    """Along rows, then along columns, which is linear in each side; else over the whole map, for the coarsest levels."""
    decay: float = Field(2.0, gt=0)
    """The first head's weight falls by the factor 1 - 2^-decay a position."""
    decay_range: NonNegativeFloat = 6.0
    """How much is added to ``decay`` from the first head to (just behind) the last; RMT has 4, 5 and 6."""

    def build(self, channels: int) -> nn.Module:
        """Return the operator for maps of ``channels``."""
        heads = largest_divisor(channels if channels % 2 else channels // 2, self.heads)
        manhattan = Manhattan(heads, channels // heads, self.decomposed, self.decay, self.decay_range)
        return fitted(MaSAOperator(channels, manhattan), Fit("heads", self.heads, heads, channels))


class Relation(NamedTuple):
    """How the positions of a map relate, for maps of one size.

    Attributes:
        cos: (H, W, 1, D // 2) of the angles by which the pairs of a head's channels are turned.
        sin: of the same shape.
        rows: (1, heads, W, W), added to the logits within a row; (1, heads, HW, HW) for the whole map.
        columns: (1, heads, H, H), within a column; None for the whole map.
    """

    cos: Tensor
    sin: Tensor
    rows: Tensor
    columns: Tensor | None = None


class Manhattan:
    """Computes relations and keeps those of the last sizes; operators of equal heads share one, as in a stage of RMT.

    Args:
        heads: of attention.
        width: channels of one head.
        decomposed: see `MaSA`, as the next two.
        decay: of the first head.
        decay_range: from the first head to behind the last.
    """

    def __init__(self, heads: int, width: int, decomposed: bool, decay: float = 2.0, decay_range: float = 6.0) -> None:
        self.heads, self.width, self.decomposed = heads, width, decomposed
        self.decay, self.decay_range = decay, decay_range
        self.relations = Cached(limit=16 if decomposed else 2)  # 1600 positions in 8 heads are 82 MB: training's, evaluation's

    def __call__(self, height: int, width: int, like: Tensor) -> Relation:
        """Return the relation on maps of this size, in the dtype and on the device of ``like``."""
        return self.relations((height, width, like.dtype, like.device), lambda: self.relation(height, width, like))

    def relation(self, height: int, width: int, like: Tensor) -> Relation:
        """Compute what `__call__` returns; half precision in float32, rounded at the end."""
        exact = lift(like.new_empty(0))
        angles = position_angles(height * width, self.width // 2, exact).reshape(height, width, 1, -1)
        rows, columns = distances(width, exact), distances(height, exact)
        if not self.decomposed:
            rows = (columns[:, None, :, None] + rows[:, None]).reshape(height * width, height * width)
        share = torch.arange(self.heads, dtype=exact.dtype, device=exact.device) / self.heads
        fading = torch.log1p(-(2 ** -(self.decay + self.decay_range * share)))[:, None, None]
        biases = [(fading * steps)[None].to(like.dtype) for steps in ((rows, columns) if self.decomposed else (rows,))]
        return Relation(angles.cos().to(like.dtype), angles.sin().to(like.dtype), *biases)


class MaSAOperator(nn.Module):
    """Projects a map to heads, lets its positions attend to one another, adds local context, and projects again."""

    official: ClassVar[Mapping[str, str | None]] = {
        "q_proj": "query",
        "k_proj": "key",
        "v_proj": "value",
        "lepe.conv": "local",
        "out_proj": "project",
    }

    def __init__(self, channels: int, manhattan: Manhattan) -> None:
        super().__init__()
        self.manhattan = manhattan
        self.query, self.key, self.value = (linear(channels, channels) for _ in range(3))
        self.local = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.project = linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same; its memory is in the order of channels-last maps."""
        tokens = x.permute(0, 2, 3, 1)
        query, key, value = self.query(tokens), self.key(tokens), self.value(tokens)
        local = self.local(value.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        relation = self.manhattan(x.shape[2], x.shape[3], query)
        query, key, value = (item.unflatten(-1, (self.manhattan.heads, -1)) for item in (query, key, value))
        query, key = (turned(item, relation) for item in (query, key))
        mixed = attended(query, key, value, relation).flatten(3)
        return self.project(mixed + local).permute(0, 3, 1, 2)


def attended(query: Tensor, key: Tensor, value: Tensor, relation: Relation) -> Tensor:
    """Return the mixed values (B, H, W, heads, D) of queries, keys and values of that shape."""
    if relation.columns is None:
        query, key, mixed = (item.flatten(1, 2)[:, None] for item in (query, key, value))
        return within_rows(query, key, mixed, relation.rows).reshape(value.shape)
    value = within_rows(query, key, value, relation.rows)
    query, key, value = (item.transpose(1, 2) for item in (query, key, value))
    return within_rows(query, key, value, relation.columns).transpose(1, 2)


def within_rows(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Return the values (B, R, T, heads, D), the T tokens of a row mixed; ``bias`` is (1, heads, T, T)."""
    rows = value.shape[:2]
    query, key, value = (item.flatten(0, 1).transpose(1, 2) for item in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, bias).transpose(1, 2).unflatten(0, rows)


def turned(x: Tensor, relation: Relation) -> Tensor:
    """Return (..., D) with each pair of channels turned by its angle; an odd last one stays.

    The result has the first of all pairs before the second ones: queries and keys alike, their products don't change.
    """
    pairs = relation.cos.shape[-1]
    first, second = x[..., : 2 * pairs].unflatten(-1, (pairs, 2)).unbind(-1)
    cos, sin = relation.cos, relation.sin
    return torch.cat((first * cos - second * sin, second * cos + first * sin, x[..., 2 * pairs :]), -1)


def position_angles(count: int, pairs: int, like: Tensor) -> Tensor:
    """Return (count, pairs) the angle by which each pair of channels is turned at each position, numbered row by row."""
    position = torch.arange(count, dtype=like.dtype, device=like.device)
    return position[:, None] * LONGEST_WAVE ** -torch.linspace(0, 1, pairs, dtype=like.dtype, device=like.device)


def distances(size: int, like: Tensor) -> Tensor:
    """Return (size, size) how far the positions of a line are from one another."""
    line = torch.arange(size, dtype=like.dtype, device=like.device)
    return (line[:, None] - line).abs()


def linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer with the authors' initial values."""
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer
