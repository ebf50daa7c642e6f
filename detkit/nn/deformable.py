"""Attention that looks at a few points of every level instead of at every cell.

Deformable DETR: Xizhou Zhu et al., 2020, arXiv:2010.04159. Each query predicts, for every head, points around its reference
box and their weights; it reads the weighted sum of the values there. The values are interpolated bilinearly, so a point is
four cells with four shares, and the sum over points and cells is one weighted bag of rows: no sampling grid, a backward pass
that is deterministic on every device. RT-DETRv2 (Wenyu Lv et al., 2024, arXiv:2407.17140) allows other numbers of points by
level, and discrete sampling, which reads the cell that a point falls into.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detkit.boxes import lift


class PointGrid(NamedTuple):
    """Where the cells lie among which each of the P points of a head is placed.

    Attributes:
        size: (P, 2) int32, width and height of the point's level in cells.
        extent: (P, 2), how many cells of that level the finest level covers: less than ``size`` on coarser levels where
            the input is no multiple of their strides.
        start: (P,) int32, number of the level's first cell among all levels.
    """

    size: Tensor
    extent: Tensor
    start: Tensor

    @classmethod
    def of(
        cls, shapes: Sequence[tuple[int, int]], strides: Sequence[int], points: Sequence[int], device: torch.device
    ) -> PointGrid:
        """Return the grid for levels of ``shapes`` (height, width) and ``strides`` with so many ``points`` each."""
        starts = [0]
        for height, width in shapes:
            starts.append(starts[-1] + height * width)
        height, width = (side * strides[0] for side in shapes[0])
        size, extent, start = [], [], []
        for shape, stride, first, count in zip(shapes, strides, starts[:-1], points, strict=True):
            size += [(shape[1], shape[0])] * count
            extent += [(width / stride, height / stride)] * count
            start += [first] * count
        return cls(
            torch.tensor(size, dtype=torch.int32, device=device),  # 32 bits: half of what sorting rows moves in backward
            torch.tensor(extent, device=device),
            torch.tensor(start, dtype=torch.int32, device=device),
        )


class DeformableAttention(nn.Module):
    """Multi-head attention of queries with reference boxes over points of several levels.

    Args:
        channels: of queries and values, a multiple of ``heads``.
        heads: of the attention.
        points: that a head reads on each level, finest first.
        discrete: read the cell a point falls into, without interpolation; offsets then take no gradient, and don't train.
    """

    point_scale: Tensor

    def __init__(self, channels: int, heads: int, points: Sequence[int], discrete: bool = False) -> None:
        super().__init__()
        self.heads, self.discrete = heads, discrete
        self.offsets = nn.Linear(channels, heads * sum(points) * 2)
        self.weights = nn.Linear(channels, heads * sum(points))
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)
        scale = [0.5 / count for count in points for _ in range(count)]
        self.register_buffer("point_scale", torch.tensor(scale).unsqueeze(-1), persistent=False)
        self._initialise(points)
        self.offsets.requires_grad_(not discrete)

    def _initialise(self, points: Sequence[int]) -> None:
        """Let each head look in a direction of its own, at growing distances, with equal weights."""
        angles = torch.arange(self.heads, device="cpu") * (2 * math.pi / self.heads)  # meta's arange imports torch's compiler
        directions = torch.stack((angles.cos(), angles.sin()), -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        distance = torch.cat([torch.arange(1, count + 1, device="cpu") for count in points])
        nn.init.zeros_(self.offsets.weight)
        with torch.no_grad():
            self.offsets.bias.copy_((directions[:, None] * distance[:, None]).flatten())
        for layer in (self.weights.weight, self.weights.bias, self.value.bias, self.output.bias):
            nn.init.zeros_(layer)
        nn.init.xavier_uniform_(self.value.weight)
        nn.init.xavier_uniform_(self.output.weight)

    def forward(self, query: Tensor, boxes: Tensor, cells: Tensor, grid: PointGrid) -> Tensor:
        """Read the cells around each query's box.

        Args:
            query: (B, Q, C).
            boxes: (B, Q, 4) cxcywh, normalised to the input.
            cells: (B, N, C) of all levels, one after the other, row by row.
            grid: where the levels lie.

        Returns:
            (B, Q, C).
        """
        batch, queries = query.shape[:2]
        values = self.value(cells).unflatten(-1, (self.heads, -1))
        offsets = self.offsets(query).reshape(batch, queries, self.heads, -1, 2)
        weights = self.weights(query).reshape(batch, queries, self.heads, -1).softmax(-1)
        centre, extent = boxes[:, :, None, None, :2], boxes[:, :, None, None, 2:]
        points = centre + offsets * self.point_scale * extent
        read = read_nearest if self.discrete else read_bilinear
        return self.output(read(values, points, weights, grid).to(query.dtype))


def read_bilinear(values: Tensor, points: Tensor, weights: Tensor, grid: PointGrid) -> Tensor:
    """Interpolate values at points and add them up; cells beyond the border count as zero.

    Args:
        values: (B, N, H, C) of all levels' cells.
        points: (B, Q, H, P, 2) x, y, normalised to what the finest level covers.
        weights: (B, Q, H, P).
        grid: which cells are each point's.

    Returns:
        (B, Q, H * C); half precision is computed in float32.
    """
    x, share_x = _corners(lift(points)[..., 0] * grid.extent[:, 0] - 0.5, grid.size[:, 0])
    y, share_y = _corners(lift(points)[..., 1] * grid.extent[:, 1] - 0.5, grid.size[:, 1])
    heads = values.shape[2]
    row = (grid.start + y * grid.size[:, 0]) * heads + _first_rows(values).unsqueeze(-1)
    rows = row.unsqueeze(-2) + (x * heads).unsqueeze(-3)
    share = (share_y * lift(weights).unsqueeze(-2)).unsqueeze(-2) * share_x.unsqueeze(-3)
    return _weighted_sum(values, rows.flatten(3), share.flatten(3))


def _corners(place: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two cells around each place along one axis, and their shares, zero beyond the border.

    Args:
        place: (B, Q, H, P), where 0 is the centre of the first cell.
        limit: (P,) cells.

    Returns:
        Whole numbers (B, Q, H, 2, P) in [0, limit), and shares of the same shape.
    """
    low = place.detach().floor()
    high_share = place - low
    corner = torch.stack((low, low + 1), -2)
    return _inside(corner, limit), torch.stack((1 - high_share, high_share), -2) * ((corner >= 0) & (corner < limit))


def read_nearest(values: Tensor, points: Tensor, weights: Tensor, grid: PointGrid) -> Tensor:
    """Add up the values of cells near the points, as RT-DETRv2 does: the corner nearest to a point counts, half a cell off.

    Arguments and result are `read_bilinear`'s.
    """
    x, y = _inside((lift(points.detach()) * grid.extent + 0.5).floor(), grid.size).unbind(-1)
    rows = (grid.start + y * grid.size[:, 0] + x) * values.shape[2] + _first_rows(values)
    return _weighted_sum(values, rows, lift(weights))


def _inside(place: Tensor, limit: Tensor) -> Tensor:
    """Return whole numbers in [0, limit) nearest to ``place``; what is not a number becomes 0."""
    return torch.where(place > 0, place, 0.0).minimum(limit.to(place.dtype) - 1).int()


def _first_rows(values: Tensor) -> Tensor:
    """Values (B, N, H, C) -> (B, 1, H, 1): the row of each image's and head's first cell in a table of them all."""
    batch, cells, heads, _ = values.shape
    head = torch.arange(heads, dtype=torch.int32, device=values.device)[:, None]
    return torch.arange(batch, dtype=torch.int32, device=values.device)[:, None, None, None] * (cells * heads) + head


def _weighted_sum(values: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """Values (B, N, H, C), rows of their table and shares of these (B, Q, H, K) -> (B, Q, H * C)."""
    batch, _, heads, width = values.shape
    table = lift(values).reshape(-1, width)
    rows, shares = rows.reshape(-1, rows.shape[-1]), shares.to(table.dtype).reshape(-1, shares.shape[-1])
    return F.embedding_bag(rows, table, mode="sum", per_sample_weights=shares).reshape(batch, -1, heads * width)
