"""Where the cells of feature maps lie in the input image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cell_centres(maps: Sequence[Tensor], strides: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the centres (N, 2) x, y of all cells and the strides (N,) of their levels, in input pixels.

    Levels follow one another; each goes row by row. Half precision, which cannot count the pixels, becomes float32.

    Args:
        maps: (B, C, H, W) of each level.
        strides: of each level, pixels.
    """
    device, dtype = maps[0].device, torch.promote_types(maps[0].dtype, torch.float32)
    centres, repeated = [], []
    for item, stride in zip(maps, strides, strict=True):
        height, width = item.shape[-2:]
        x = (torch.arange(width, device=device, dtype=dtype) + 0.5) * stride
        y = (torch.arange(height, device=device, dtype=dtype) + 0.5) * stride
        centres.append(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).reshape(-1, 2))
        repeated.append(torch.full((height * width,), stride, device=device, dtype=dtype))
    return torch.cat(centres), torch.cat(repeated)
