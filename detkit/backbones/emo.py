"""EMO: four stages of inverted residual mobile blocks, of which the last two attend.

Rethinking Mobile Block for Efficient Attention-based Models: Jiangning Zhang et al., 2023, arXiv:2301.01146. Every block is
an iRMB, see `detkit.blocks.irmb`; the first of a stage halves the size with twice the width inside and does not attend.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal, NamedTuple

from pydantic import PositiveInt
from torch import nn

from detkit.backbones.staged import StagedBackbone
from detkit.blocks.irmb import GridAttention, IRMBBlock, batch_norm
from detkit.nn.conv import ConvNorm
from detkit.nn.norm import ChannelNorm
from detkit.parts import Backbone, BackboneSpec
from detkit.structures import Level

STEM = 24
"""Channels of the stem in every size."""


class Size(NamedTuple):
    """Of each stage: channels, blocks, width of the values as a multiple of the channels, channels of a head."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    expansions: tuple[float, float, float, float]
    head_channels: tuple[int, int, int, int]


SIZES = {
    "1m": Size((32, 48, 80, 168), (2, 2, 8, 3), (2, 2.5, 3, 3.5), (16, 16, 20, 21)),
    "2m": Size((32, 48, 120, 200), (3, 3, 9, 3), (2, 2.5, 3, 3.5), (16, 16, 20, 20)),
    "5m": Size((48, 72, 160, 288), (3, 3, 9, 3), (2, 3, 4, 4), (24, 24, 32, 32)),
    "6m": Size((48, 72, 160, 320), (3, 3, 9, 3), (2, 3, 4, 5), (16, 24, 20, 32)),
}


class EMO(BackboneSpec):
    """Efficient model with strides 4, 8, 16, 32: convolutional at high resolution, with attention at low."""

    size: Literal["1m", "2m", "5m", "6m"] = "1m"
    """Of the published ones, by millions of parameters."""
    window_size: PositiveInt = 7
    """Height and width of the grid of positions that attend to one another; 10 in the authors' RetinaNet."""

    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with its levels, or those of the strides ``levels``."""
        given = [Level(width, 4 << index) for index, width in enumerate(SIZES[self.size].widths)]
        return EMOBackbone(given, levels, stem(), self._stages())

    def _stages(self) -> Iterator[nn.Module]:
        """Yield the four stages."""
        size, inputs = SIZES[self.size], STEM
        for index, (outputs, depth, expansion) in enumerate(zip(size.widths, size.depths, size.expansions, strict=True)):
            heads = outputs // size.head_channels[index] if index > 1 else 0
            block = wide_block if index > 1 else fine_block
            blocks = [block(inputs, int(inputs * expansion * 2), stride=2, outputs=outputs)]
            for _ in range(depth - 1):
                mixer = GridAttention(outputs, heads, self.window_size, bias=True) if heads else None
                blocks.append(block(outputs, int(outputs * expansion), mixer, mixer_first=True))
            yield nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks)))
            inputs = outputs


class EMOBackbone(StagedBackbone):
    """The stem of stride 2, and the stages."""

    official: ClassVar[Mapping[str, str | None]] = {
        "stage0.0.convs.0.0": "stem.first.conv",
        "stage0.0.convs.0.1": "stem.first.norm",
        "stage0.1": "stem.block",
        "stage1": "stages.0.blocks",
        "stage2": "stages.1.blocks",
        "stage3": "stages.2.blocks",
        "stage4": "stages.3.blocks",
    }


def stem() -> nn.Module:
    """Return a 3x3 convolution of stride 2 and an iRMB without attention and shortcut that weights channels."""
    first = ConvNorm(3, STEM, 3, stride=2, activation=None, norm=batch_norm, bias=True)
    block = IRMBBlock(STEM, None, norm=None, activation=nn.SiLU, excite=True, shortcut=False)
    return nn.Sequential(OrderedDict(first=first, block=block))


fine_block = partial(IRMBBlock, kernel_size=3, norm=batch_norm, activation=nn.SiLU, bias=True)
"""Makes the blocks of the first two stages."""

wide_block = partial(IRMBBlock, kernel_size=5, norm=partial(ChannelNorm, eps=1e-6), activation=nn.GELU, bias=True)
"""Makes the blocks of the last two stages."""
