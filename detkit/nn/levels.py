"""How necks merge neighbouring levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TopDown(nn.Module):
    """Bring a coarse map to the size of a fine one and merge them."""

    def __init__(self, upsample: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.upsample = upsample
        self.body = body

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(B, C, ceil(H/2), ceil(W/2)) and (B, C', H, W) -> (B, Cout, H, W)."""
        height, width = fine.shape[-2:]
        return self.body(torch.cat((self.upsample(coarse)[..., :height, :width], fine), 1))


class BottomUp(nn.Module):
    """Bring a fine map to the size of a coarse one and merge them."""

    def __init__(self, downsample: nn.Module, body: nn.Module) -> None:
        super().__init__()
        self.downsample = downsample
        self.body = body

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(B, C, H, W) and (B, C', ceil(H/2), ceil(W/2)) -> (B, Cout, ceil(H/2), ceil(W/2))."""
        return self.body(torch.cat((self.downsample(fine), coarse), 1))
