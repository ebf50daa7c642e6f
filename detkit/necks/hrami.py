"""H-RAMi: maps of several levels, mixed on the finest grid, become the weights of a map.

Reciprocal Attention Mixing Transformer for Lightweight Image Restoration: Haram Choi et al., 2023, arXiv:2305.11474:
mix = MobiVari(concat of shuffle_r(map) over the levels), y = x * mix; shuffle_r moves r * r channels to r x r positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_shuffle

from detkit.blocks.mobivari import MobiVari
from detkit.nn.gate import blend
from detkit.parts import Neck, NeckSpec
from detkit.structures import Level


class HRAMi(NeckSpec):
    """Weights the finest level by a mix of all levels: the paper's form, on a pyramid.

    The levels are mixed at one width, the finest level's, or the next one that the coarsest can be shuffled at (a
    multiple of 16 for three levels). 1x1 convolutions lead to it and back where a level's width is another.
    """

    mobivari: MobiVari = MobiVari()
    """What mixes the shuffled maps."""
    all_levels: bool = False
    """Weight the coarser levels too, by the mix averaged to their size."""
    gate: bool = True
    """Start as the identity: x + g * (x * mix - x), one gate g a channel, zero at the start. The paper has x * mix."""

    def build(self, levels: Sequence[Level]) -> Neck:
        """Return the remixer for maps of these levels."""
        return HRAMiNeck(self, levels)


class HRAMiNeck(Neck):
    """``inward`` and ``outward`` hold the convolutions to and from the common width, ``gates`` a gate a weighted level."""

    def __init__(self, spec: HRAMi, levels: Sequence[Level]) -> None:
        super().__init__()
        self.out = tuple(levels)
        self.ratios = tuple(level.stride // levels[0].stride for level in levels)
        channels = {f"p{level.number}": level.channels for level in levels}
        weighted = list(channels) if spec.all_levels else list(channels)[:1]
        block = self.ratios[-1] ** 2  # channels of the coarsest level that become one
        width = -(-levels[0].channels // block) * block
        self.inward = nn.ModuleDict({level: projection(channels[level], width) for level in channels})
        self.mix = HRAMiMix(width, self.ratios, spec.mobivari)
        self.outward = nn.ModuleDict({level: projection(width, channels[level]) for level in weighted})
        gated = weighted if spec.gate else []
        self.gates = nn.ParameterDict({level: nn.Parameter(torch.zeros(channels[level])) for level in gated})

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One (B, channels, H, W) a level, finest first -> the same, the weighted ones changed."""
        mix = self.mix([bring(x) for bring, x in zip(self.inward.values(), maps, strict=True)])
        maps = list(maps)
        for index, (level, bring) in enumerate(self.outward.items()):
            old, ratio = maps[index], self.ratios[index]
            new = old * bring(avg_pool2d(mix, ratio, ceil_mode=True) if ratio > 1 else mix)
            maps[index] = blend(self.gates[level], old, new) if level in self.gates else new
        return maps


class HRAMiMix(nn.Module):
    """Brings maps of one width to the finest grid by pixel shuffle, and mixes them to one map.

    Args:
        channels: of every map, and of the mix.
        shuffles: for each map, how many times smaller its sides are than the first's; the authors' four stages by default.
        mobivari: mixes the concatenated maps.
    """

    def __init__(self, channels: int, shuffles: Sequence[int] = (1, 2, 4, 1), mobivari: MobiVari = MobiVari()) -> None:  # noqa: B008 (frozen)
        super().__init__()
        self.shuffles = tuple(shuffles)
        self.mobivari = mobivari.between(sum(channels // shuffle**2 for shuffle in shuffles), channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """One (B, C, ceil(H / shuffle), ceil(W / shuffle)) for each of ``shuffles``, the first of 1 -> (B, C, H, W)."""
        height, width = maps[0].shape[-2:]
        shuffled = [pixel_shuffle(x, shuffle) for x, shuffle in zip(maps, self.shuffles, strict=True)]
        return self.mobivari(torch.cat([x[..., :height, :width] for x in shuffled], 1))


def projection(inputs: int, outputs: int) -> nn.Module:
    """Return a 1x1 convolution where the widths differ."""
    return nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
