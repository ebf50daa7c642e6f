"""C2PSA: YOLO11's attention on top of the backbone."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from detkit.blocks.psa import PSA
from detkit.nn.conv import ConvNorm
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec, StageSpec


class C2PSA(StageSpec):
    """Attention units on one half of the channels, merged with the other half."""

    unit: BlockSpec = PSA()
    """What is chained inside."""
    expansion: float = Field(0.5, gt=0)
    """Width of each half, as a fraction of the outputs."""

    def build(self, inputs: int, outputs: int, depth: int) -> nn.Module:
        """Return a stage of ``depth`` units from ``inputs`` to ``outputs`` channels."""
        hidden = fraction(outputs, self.expansion)
        return C2PSAStage(inputs, outputs, hidden, nn.Sequential(*(self.unit.build(hidden) for _ in range(depth))))


class C2PSAStage(nn.Module):
    """Split, pass one half through the blocks, merge; unlike C2f, only the last block's output reaches the end."""

    def __init__(self, inputs: int, outputs: int, hidden: int, blocks: nn.Sequential) -> None:
        super().__init__()
        self.split = ConvNorm(inputs, 2 * hidden)
        self.blocks = blocks
        self.merge = ConvNorm(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        kept, attended = self.split(x).chunk(2, 1)
        return self.merge(torch.cat((kept, self.blocks(attended)), 1))
