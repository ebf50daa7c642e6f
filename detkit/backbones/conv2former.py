"""Conv2Former: a pyramid of blocks that modulate by large depthwise convolutions.

Conv2Former: A Simple Transformer-Style ConvNet for Visual Recognition: Qibin Hou et al., 2022, arXiv:2211.11943. Four stages
of `ConvMod` blocks; every stage but the first halves the size by a norm and a 2x2 convolution. The stem activates before its
norms, not after.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor, nn
from torch.nn.functional import pad

from detkit.backbones.staged import StagedBackbone
from detkit.blocks.conv_mod import ConvMod, initialise
from detkit.nn.norm import ChannelNorm
from detkit.parts import Backbone, BackboneSpec
from detkit.structures import Level


class Size(NamedTuple):
    """Width of the first stage, which every later one doubles, depths, and the blocks' kernel size."""

    width: int
    depths: tuple[int, int, int, int]
    kernel_size: int


SIZES = {
    "n": Size(64, (2, 2, 8, 2), 7),
    "t": Size(72, (3, 3, 12, 3), 11),
    "s": Size(72, (4, 4, 32, 4), 11),
    "b": Size(96, (4, 4, 34, 4), 11),
    "l": Size(128, (4, 4, 48, 4), 11),
}


layer_norm = partial(ChannelNorm, eps=1e-6)
"""Makes layer norms as Conv2Former has them."""


class Conv2Former(BackboneSpec):
    """Conv2Former with strides 4, 8, 16, 32."""

    size: Literal["n", "t", "s", "b", "l"] = "n"
    """Of the published ones, 13 to 196 million parameters."""
    output_norm: bool = False
    """A layer norm after each level, which the published networks lack: their levels are sums that nothing has normed."""

    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with its levels, or those of the strides ``levels``."""
        size = SIZES[self.size]
        given = [Level(size.width << index, 4 << index) for index in range(4)]
        output_norm = layer_norm if self.output_norm else None
        return Conv2FormerBackbone(given, levels, stem(size.width), stages(size), output_norm)


class Conv2FormerBackbone(StagedBackbone):
    """Stem and stages of a Conv2Former, under its authors' names too."""

    official: ClassVar[Mapping[str, str | None]] = {
        "downsample_layers.0.0": "stem.first.conv",
        "downsample_layers.0.2": "stem.first.norm",
        "downsample_layers.0.3": "stem.second.conv",
        "downsample_layers.0.5": "stem.second.norm",
        "downsample_layers.0.6": "stem.halve.conv",
        **{f"downsample_layers.{index}.0": f"stages.{index}.downsample.norm" for index in (1, 2, 3)},
        **{f"downsample_layers.{index}.1": f"stages.{index}.downsample.halve.conv" for index in (1, 2, 3)},
        **{f"stages.{index}": f"stages.{index}.blocks" for index in range(4)},
    }


class Halve(nn.Module):
    """A convolution of 2x2 positions that don't overlap; odd sizes get a row or column of zeros."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 2, stride=2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, ceil(H/2), ceil(W/2))."""
        height, width = x.shape[-2:]
        return self.conv(pad(x, (0, width % 2, 0, height % 2)))


def stem(outputs: int) -> nn.Module:
    """Return two 3x3 convolutions and one of 2x2, (B, 3, H, W) -> (B, outputs, H/4, W/4)."""
    half = outputs // 2
    parts = OrderedDict(
        first=activated(nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False)),
        second=activated(nn.Conv2d(half, half, 3, padding=1, bias=False)),
        halve=Halve(half, outputs, bias=False),
    )
    return nn.Sequential(parts).apply(initialise)


def activated(conv: nn.Conv2d) -> nn.Module:
    """Return a convolution, GELU, batch norm, in this order, so that the norm cannot be folded."""
    return nn.Sequential(OrderedDict(conv=conv, activation=nn.GELU(), norm=nn.BatchNorm2d(conv.out_channels)))


def stages(size: Size) -> Iterator[nn.Module]:
    """Yield the four stages; each but the first halves the size before its blocks."""
    block = ConvMod(kernel_size=size.kernel_size, layer_scale=1e-6)
    for index, depth in enumerate(size.depths):
        width = size.width << index
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if index:
            norm, halve = layer_norm(width // 2), Halve(width // 2, width, bias=True)
            parts["downsample"] = nn.Sequential(OrderedDict(norm=norm, halve=halve)).apply(initialise)
        parts["blocks"] = nn.Sequential(*(block.build(width) for _ in range(depth)))
        yield nn.Sequential(parts)
