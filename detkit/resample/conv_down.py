"""Downsampling by a strided convolution."""

from functools import partial

from pydantic import Field
from torch import nn

from detkit.nn.conv import ConvNorm
from detkit.parts import DownsampleSpec


class ConvDown(DownsampleSpec):
    """A 3x3 convolution of stride 2 with batch norm and SiLU; the defaults are the YOLO family's."""

    epsilon: float = Field(1e-3, gt=0)
    """Of batch norm."""
    momentum: float = Field(0.03, gt=0, le=1)
    """Of batch norm: the share of a new batch in its running statistics."""

    def build(self, inputs: int, outputs: int) -> nn.Module:
        """Return the module from ``inputs`` to ``outputs`` channels."""
        norm = partial(nn.BatchNorm2d, eps=self.epsilon, momentum=self.momentum)
        return ConvNorm(inputs, outputs, 3, 2, norm=norm)
