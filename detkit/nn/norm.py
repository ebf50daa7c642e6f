"""Norms over the channels of maps."""

from __future__ import annotations

from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each position of a map."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
