"""HGNetv2: convolutions in plain blocks at high resolution, and light ones at low; RT-DETR's L, X and H.

PP-HGNetV2 of PaddleClas, 2023, without an article; used by RT-DETR: Yian Zhao et al., 2023, arXiv:2304.08069. A map is
halved by a depthwise convolution without activation, and the stem keeps a max-pooled copy beside its convolutions.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from detkit.backbones.staged import StagedBackbone
from detkit.blocks.hg import HGConv, LightConv, hg_conv
from detkit.nn.conv import NormKind
from detkit.parts import Backbone, BackboneSpec, BlockSpec
from detkit.stages.hgblock import HGBlock
from detkit.structures import Level


class Size(NamedTuple):
    """Channels and depths of one published size; ``hidden`` is the width of the layers in each stage's blocks."""

    stem: tuple[int, int]
    widths: tuple[int, int, int, int]
    hidden: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


SIZES = {
    "l": Size((32, 48), (128, 512, 1024, 2048), (48, 96, 192, 384), (1, 1, 3, 1)),
    "x": Size((32, 64), (128, 512, 1024, 2048), (64, 128, 256, 512), (1, 2, 5, 2)),
    "h": Size((48, 96), (192, 512, 1024, 2048), (96, 192, 384, 768), (2, 3, 6, 3)),
}


class HGNetv2(BackboneSpec):
    """PP-HGNetV2 with strides 4, 8, 16, 32."""

    size: Literal["l", "x", "h"] = "l"
    """Of the published ones; X and H are those of RT-DETR-X and RT-DETRv2-H."""
    norm: NormKind = "batch"
    """Batch norm; "frozen" is for loaded weights only: no norm ever changes, and the stem does not train."""
    unit: BlockSpec | None = None
    """Layers 2 to 6 of every block; none for convolutions like layer 1, which changes the width."""

    @property
    def timm_name(self) -> str:
        """The name in timm, which numbers the sizes from the smallest of all."""
        return {"l": "hgnetv2_b4", "x": "hgnetv2_b5", "h": "hgnetv2_b6"}[self.size]

    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with its levels, or those of the strides ``levels``."""
        size = SIZES[self.size]
        given = [Level(width, 4 << index) for index, width in enumerate(size.widths)]
        backbone = StagedBackbone(given, levels, HGStem(*size.stem, self.norm), self._stages(size))
        if self.norm == "frozen":
            backbone.stem.requires_grad_(False)
        return backbone

    def _stages(self, size: Size) -> Iterator[nn.Module]:
        """Yield the four stages; all but the first halve the size, and the last two have light layers."""
        inputs = size.stem[1]
        for index, (outputs, hidden, depth) in enumerate(zip(size.widths, size.hidden, size.depths, strict=True)):
            parts: OrderedDict[str, nn.Module] = OrderedDict()
            if index:
                parts["downsample"] = hg_conv(inputs, inputs, 3, stride=2, groups=inputs, activation=None, norm=self.norm)
            layer = LightConv(norm=self.norm) if index > 1 else HGConv(norm=self.norm)
            stage = HGBlock(layer=layer, unit=self.unit, expansion=hidden / outputs)
            parts["blocks"] = stage.build(inputs, outputs, depth)
            yield nn.Sequential(parts)
            inputs = outputs


class HGStem(nn.Module):
    """Two convolutions and a max pooling side by side, of 2x2 positions each, which look right and down only."""

    def __init__(self, hidden: int, outputs: int, norm: NormKind) -> None:
        super().__init__()
        self.reduce = hg_conv(3, hidden, 3, stride=2, norm=norm)
        self.pad = nn.ZeroPad2d((0, 1, 0, 1))
        self.narrow = hg_conv(hidden, hidden // 2, 2, norm=norm, padding=0)
        self.widen = hg_conv(hidden // 2, hidden, 2, norm=norm, padding=0)
        self.pool = nn.MaxPool2d(2, stride=1)
        self.merge = hg_conv(2 * hidden, hidden, 3, stride=2, norm=norm)
        self.project = hg_conv(hidden, outputs, norm=norm)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, outputs, H/4, W/4)."""
        padded = self.pad(self.reduce(images))
        convolved = self.widen(self.pad(self.narrow(padded)))
        return self.project(self.merge(torch.cat((self.pool(padded), convolved), 1)))
