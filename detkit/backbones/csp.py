"""The convolutional backbone of YOLOv8 and YOLO11: a stem, then stages that each halve the size.

CSPNet: Chien-Yao Wang et al., 2019, arXiv:1911.11929. What a stage is made of is its spec's affair.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from detkit.blocks.bottleneck import Bottleneck
from detkit.nn.conv import ConvNorm
from detkit.parts import Backbone, BackboneSpec, DownsampleSpec, StageSpec
from detkit.resample.conv_down import ConvDown
from detkit.stages.c2f import C2f
from detkit.structures import Level

if TYPE_CHECKING:
    from typing_extensions import Self


class CSPBackbone(BackboneSpec):
    """A stem of stride 2 and stages of strides 4, 8, 16, 32; the defaults are YOLOv8n's."""

    stem: PositiveInt = 16
    """Channels of the stem."""
    widths: tuple[PositiveInt, ...] = (32, 64, 128, 256)
    """Channels that each stage puts out."""
    downsample_widths: tuple[PositiveInt, ...] | None = None
    """Channels between each stage's downsampling and its body; none for the stage's width."""
    depths: tuple[PositiveInt, ...] = (1, 2, 2, 1)
    """Units in each stage."""
    stages: tuple[StageSpec, ...] = Field((C2f(unit=Bottleneck()),) * 4, min_length=1)
    """What each stage is made of."""
    downsample: DownsampleSpec = ConvDown()
    """At the start of each stage."""

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        count = len(self.stages)
        for name in ("widths", "downsample_widths", "depths"):
            given = getattr(self, name)
            if given is not None and len(given) != count:
                raise ValueError(f"{count} stages need {count} {name}, not {len(given)}")
        return self

    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with its levels, or those of the strides ``levels``."""
        return CSPBackboneModule(self, levels)


class CSPBackboneModule(Backbone):
    """Stem and stages; stages coarser than the coarsest level asked for are not created."""

    def __init__(self, spec: CSPBackbone, levels: Sequence[int] | None) -> None:
        super().__init__()
        given = [Level(width, 4 << index) for index, width in enumerate(spec.widths)]
        self.out = tuple(level for level in given if levels is None or level.stride in levels)
        self.taps = tuple(given.index(level) for level in self.out)
        self.stem = ConvNorm(3, spec.stem, 3, 2)
        self.stages = nn.ModuleList()
        inputs = spec.stem
        for index in range(1 + max(self.taps, default=-1)):
            outputs = spec.widths[index]
            width = spec.downsample_widths[index] if spec.downsample_widths else outputs
            downsample = spec.downsample.build(inputs, width)
            body = spec.stages[index].build(width, outputs, spec.depths[index])
            self.stages.append(nn.Sequential(OrderedDict(downsample=downsample, body=body)))
            inputs = outputs

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> for each level of ``out`` (B, channels, H / stride, W / stride)."""
        x, maps = self.stem(images), []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self.taps:
                maps.append(x)
        return maps
