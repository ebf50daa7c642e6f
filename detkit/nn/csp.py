"""The two cross-stage-partial shells in which the YOLO family hosts its units.

CSPNet: Chien-Yao Wang et al., 2019, arXiv:1911.11929. Only a part of the channels passes the units; the rest goes round
them and joins at the end.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from detkit.nn.conv import ConvNorm


class SplitCSP(nn.Module):
    """Split the channels in two halves, chain the units on the second, merge both halves and every unit's output.

    Args:
        inputs: channels.
        outputs: channels.
        hidden: channels of each half, and of the units.
        blocks: the units, (B, hidden, H, W) -> same.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.split = ConvNorm(inputs, 2 * hidden)
        self.merge = ConvNorm((2 + len(self.blocks)) * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        halves = self.split(x)
        maps, x = [halves], halves.chunk(2, 1)[1]
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return self.merge(torch.cat(maps, 1))


class BypassCSP(nn.Module):
    """Chain the units on a narrow main path and merge it with a bypass; C3 in the YOLO family.

    Args:
        inputs: channels.
        outputs: channels.
        hidden: channels of main path and bypass.
        blocks: the units, (B, hidden, H, W) -> same.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.main = ConvNorm(inputs, hidden)
        self.side = ConvNorm(inputs, hidden)
        self.blocks = nn.Sequential(*blocks)
        self.merge = ConvNorm(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.merge(torch.cat((self.blocks(self.main(x)), self.side(x)), 1))
