"""RMT: a pyramid of blocks whose attention fades with the Manhattan distance of positions.

RMT: Retentive Networks Meet Vision Transformers: Qihang Fan et al., 2023, arXiv:2309.11523 (CVPR 2024). Four stages of
`RetBlock`: attention is decomposed into rows and columns where maps are large, and spans the whole map in the last stage (of
the smallest network, in the last two).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from detkit.backbones.staged import StagedBackbone
from detkit.blocks.masa import Manhattan, MaSAOperator
from detkit.blocks.ret import RetBlockModule
from detkit.nn.conv import ConvNorm
from detkit.nn.norm import ChannelNorm
from detkit.parts import Backbone, BackboneSpec
from detkit.structures import Level


class Size(NamedTuple):
    """One published network, stage by stage; ``decomposed`` counts the stages with decomposed attention.

    ``layer_scaled`` is the first stage with layer scale.
    """

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    heads: tuple[int, int, int, int]
    decay_ranges: tuple[int, int, int, int]
    expansions: tuple[int, int, int, int] = (4, 4, 3, 3)
    decomposed: int = 3
    layer_scaled: int = 4


SIZES = {
    "t": Size((64, 128, 256, 512), (2, 2, 8, 2), (4, 4, 8, 16), (4, 4, 6, 6), expansions=(3, 3, 3, 3), decomposed=2),
    "s": Size((64, 128, 256, 512), (3, 4, 18, 4), (4, 4, 8, 16), (4, 4, 6, 6)),
    "b": Size((80, 160, 320, 512), (4, 8, 25, 8), (5, 5, 10, 16), (5, 5, 6, 6), layer_scaled=2),
    "l": Size((112, 224, 448, 640), (4, 8, 25, 8), (7, 7, 14, 20), (6, 6, 6, 6), layer_scaled=2),
}


class RMT(BackboneSpec):
    """RMT with strides 4, 8, 16, 32."""

    size: Literal["t", "s", "b", "l"] = "t"
    """Of the published ones; in their authors' code RMT_T3, RMT_S, RMT_M2 and RMT_L6."""
    output_norm: bool = False
    """A layer norm on each map put out, as in the authors' detectors."""

    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with its levels, or those of the strides ``levels``."""
        size = SIZES[self.size]
        given = [Level(width, 4 << index) for index, width in enumerate(size.widths)]
        return RMTBackbone(given, levels, RMTStem(size.widths[0]), stages(size), ChannelNorm if self.output_norm else None)


class RMTBackbone(StagedBackbone):
    """Stem and stages of an RMT, under its authors' names too."""

    official: ClassVar[Mapping[str, str | None]] = {
        "patch_embed": "stem",
        "layers": "stages",
        **{f"layers.{index}.downsample.norm": f"stages.{index + 1}.downsample.norm" for index in range(3)},
        **{f"layers.{index}.downsample.reduction": f"stages.{index + 1}.downsample.conv" for index in range(3)},
        **{f"extra_norms.{index}": f"norms.c{index + 2}" for index in range(4)},
    }


class RMTStem(nn.Sequential):
    """Four 3x3 convolutions that quarter the size; the last one has no activation."""

    official: ClassVar[Mapping[str, str | None]] = {
        f"proj.{3 * index + offset}": f"{layer}.{part}"
        for index, layer in enumerate(("first", "second", "third", "fourth"))
        for offset, part in enumerate(("conv", "norm"))
    }

    def __init__(self, outputs: int) -> None:
        conv = partial(ConvNorm, kernel_size=3, norm=nn.BatchNorm2d, bias=True)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            first=conv(3, outputs // 2, stride=2, activation=nn.GELU),
            second=conv(outputs // 2, outputs // 2, activation=nn.GELU),
            third=conv(outputs // 2, outputs, stride=2, activation=nn.GELU),
            fourth=conv(outputs, outputs, activation=None),
        )
        super().__init__(layers)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, outputs, H / 4, W / 4), channels last in memory, which the blocks keep."""
        return super().forward(images).contiguous(memory_format=torch.channels_last)


class RMTStage(nn.Module):
    """Halves the map, except in the first stage, and runs the blocks.

    Args:
        inputs: channels; None where the map keeps its size.
        blocks: run one after the other.
        outputs: channels of the blocks.
    """

    official: ClassVar[Mapping[str, str | None]] = {"Relpos": None}

    def __init__(self, inputs: int | None, outputs: int, blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if inputs is not None:
            self.downsample = ConvNorm(inputs, outputs, 3, 2, activation=None, norm=nn.BatchNorm2d, bias=True)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / 2, W / 2)."""
        return self.blocks(self.downsample(x))


def stages(size: Size) -> Iterator[RMTStage]:
    """Yield the four stages; the blocks of one share what follows from the size of its map."""
    inputs = None
    for index, (width, depth, heads) in enumerate(zip(size.widths, size.depths, size.heads, strict=True)):
        decomposed = index < size.decomposed
        manhattan = Manhattan(heads, width // heads, decomposed, decay_range=size.decay_ranges[index])
        hidden = width * size.expansions[index]
        layer_scale = 1e-6 if index >= size.layer_scaled else None
        blocks = (RetBlockModule(width, MaSAOperator(width, manhattan), hidden, layer_scale) for _ in range(depth))
        yield RMTStage(inputs, width, blocks)
        inputs = width
