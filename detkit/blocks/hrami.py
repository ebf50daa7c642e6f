"""H-RAMi on a single map: the map is weighted by what MobiVari makes of it.

Reciprocal Attention Mixing Transformer for Lightweight Image Restoration: Haram Choi et al., 2023, arXiv:2305.11474:
y = x * MobiVari(x). The paper mixes maps of several levels; `detkit.necks.hrami` has that form.
"""

from __future__ import annotations

from torch import Tensor, nn

from detkit.blocks.mobivari import MobiVari
from detkit.parts import BlockSpec


class HRAMiSingle(BlockSpec):
    """A map times its own `MobiVari`: H-RAMi where there is one level."""

    mobivari: MobiVari = MobiVari()
    """What makes the weights."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        return HRAMiSingleBlock(self.mobivari.build(channels))


class HRAMiSingleBlock(nn.Module):
    """y = x * mix(x), without sigmoid or shortcut."""

    def __init__(self, mix: nn.Module) -> None:
        super().__init__()
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return x * self.mix(x)
