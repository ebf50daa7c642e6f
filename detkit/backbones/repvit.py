"""RepViT: a convolutional backbone laid out like a mobile vision transformer.

RepViT: Revisiting Mobile CNN From ViT Perspective: Ao Wang et al., 2023, arXiv:2307.09283. A stem of two strided
convolutions, then stages of `RepViTBlock`; a stage begins with one more block at the size before it, and a deep downsampling.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple

from torch import nn

from detkit.backbones.staged import StagedBackbone
from detkit.blocks.repvit import RepViTBlockModule, RepViTDownsample
from detkit.nn.conv import ConvNorm
from detkit.parts import Backbone, BackboneSpec
from detkit.structures import Level


class Size(NamedTuple):
    """Channels of the first stage, which every later one doubles; blocks of each stage after its downsampling."""

    width: int
    depths: tuple[int, int, int, int]


SIZES = {
    "m0_6": Size(40, (1, 1, 8, 1)),
    "m0_9": Size(48, (2, 2, 14, 2)),
    "m1_0": Size(56, (2, 2, 14, 2)),
    "m1_1": Size(64, (2, 2, 12, 2)),
    "m1_5": Size(64, (4, 4, 24, 4)),
    "m2_3": Size(80, (6, 6, 34, 2)),
}


class RepViT(BackboneSpec):
    """RepViT with strides 4, 8, 16, 32; its levels are the maps that the authors' detectors read."""

    size: Literal["m0_6", "m0_9", "m1_0", "m1_1", "m1_5", "m2_3"] = "m0_9"
    """Of the published ones, by latency in milliseconds on the authors' phone."""

    @property
    def timm_name(self) -> str | None:
        """The name in timm, which lacks the smallest."""
        return None if self.size == "m0_6" else f"repvit_{self.size}"

    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with its levels, or those of the strides ``levels``."""
        width, depths = SIZES[self.size]
        given = [Level(width << index, 4 << index) for index in range(4)]
        return RepViTBackbone(given, levels, stem(width), stages(width, depths))


class RepViTBackbone(StagedBackbone):
    """The stem of stride 4, and the stages."""

    @cached_property
    def official(self) -> Mapping[str, str | None]:
        """The authors' names, who number the stem and all blocks of all stages in one list."""
        steps = [
            f"stages.{index}.{name}"
            for index, stage in enumerate(self.stages)
            for name, module in stage.named_modules()
            if isinstance(module, (RepViTBlockModule, RepViTDownsample))
        ]
        layers = {"0.c": "first.conv", "0.bn": "first.norm", "2.c": "second.conv", "2.bn": "second.norm"}
        table = {f"features.0.{theirs}": f"stem.{ours}" for theirs, ours in layers.items()}
        return table | {f"features.{number}": name for number, name in enumerate(steps, 1)}

    timm: ClassVar[Mapping[str, str | None]] = {
        "stem.conv1.c": "stem.first.conv",
        "stem.conv1.bn": "stem.first.norm",
        "stem.conv2.c": "stem.second.conv",
        "stem.conv2.bn": "stem.second.norm",
        **{f"stages.{index}.downsample.pre_block": f"stages.{index}.before" for index in (1, 2, 3)},
    }


def stem(outputs: int) -> nn.Module:
    """Return two 3x3 convolutions of stride 2, (B, 3, H, W) -> (B, outputs, H/4, W/4)."""
    first = ConvNorm(3, outputs // 2, 3, stride=2, activation=nn.GELU, norm=nn.BatchNorm2d)
    second = ConvNorm(outputs // 2, outputs, 3, stride=2, activation=None, norm=nn.BatchNorm2d)
    return nn.Sequential(OrderedDict(first=first, second=second))


def stages(width: int, depths: Sequence[int]) -> Iterator[nn.Module]:
    """Yield the stages; every second block weights channels, and never the one before a downsampling.

    That one belongs to the stage that it leads to: the detectors of the authors read the map before it.
    """
    for index, depth in enumerate(depths):
        channels = width << index
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if index:
            parts["before"] = RepViTBlockModule(channels // 2, excite=False)
            parts["downsample"] = RepViTDownsample(channels // 2, channels)
        parts["blocks"] = nn.Sequential(*(RepViTBlockModule(channels, excite=i % 2 == 0) for i in range(depth)))
        yield nn.Sequential(parts)
