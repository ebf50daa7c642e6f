"""One layer of RT-DETR's decoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from detkit.nn.attention import SelfAttention, held
from detkit.nn.attention import feedforward as transformer_feedforward
from detkit.nn.deformable import DeformableAttention, PointGrid


class DecoderLayer(nn.Module):
    """Queries look at one another, then at the cells around their boxes; each part is added, then normalised.

    Args:
        width: channels of a query.
        heads: of both attentions.
        feedforward: channels inside the feed-forward part.
        points: that a head reads on each level.
        discrete: read single cells at the points.
    """

    def __init__(self, width: int, heads: int, feedforward: int, points: Sequence[int], discrete: bool) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.cross = DeformableAttention(width, heads, points, discrete)
        self.cross_norm = nn.LayerNorm(width)
        self.feedforward = transformer_feedforward(width, feedforward, partial(nn.ReLU, inplace=True))
        self.feedforward_norm = nn.LayerNorm(width)
        for name in ("expand.weight", "reduce.weight"):
            nn.init.xavier_uniform_(self.feedforward.get_parameter(name))

    def forward(
        self, content: Tensor, position: Tensor, boxes: Tensor, cells: Tensor, grid: PointGrid, mask: Tensor | None
    ) -> Tensor:
        """Refine the content (B, Q, C) of queries.

        Args:
            content: (B, Q, C).
            position: (B, Q, C) code of the boxes, added where queries look and are looked at.
            boxes: (B, Q, 4) cxcywh, normalised to the input.
            cells: (B, N, C) of all levels.
            grid: where the levels' cells are.
            mask: (B, D, Q), what the first D queries may look at, as `SelfAttention` has it; None: all at all.

        Returns:
            (B, Q, C).
        """
        content = self.attention_norm(held(content + self.attention(content, position, mask)))
        content = self.cross_norm(held(content + self.cross(content + position, boxes, cells, grid)))
        return self.feedforward_norm(held(content + self.feedforward(content)))
