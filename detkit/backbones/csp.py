"""The convolutional backbone of YOLOv8 and YOLO11: a stem, then stages that each halve the size.

CSPNet: Chien-Yao Wang et al., 2019, arXiv:1911.11929. What a stage is made of is its spec's affair.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt, model_validator
from torch import nn

from detkit.backbones.staged import StagedBackbone
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
        given = [Level(width, 4 << index) for index, width in enumerate(self.widths)]
        return StagedBackbone(given, levels, ConvNorm(3, self.stem, 3, 2), self._stages())

    def _stages(self) -> Iterator[nn.Module]:
        """Yield the stages: downsampling, then body."""
        inputs = self.stem
        for index, (stage, outputs, depth) in enumerate(zip(self.stages, self.widths, self.depths, strict=True)):
            width = self.downsample_widths[index] if self.downsample_widths else outputs
            downsample, body = self.downsample.build(inputs, width), stage.build(width, outputs, depth)
            yield nn.Sequential(OrderedDict(downsample=downsample, body=body))
            inputs = outputs
