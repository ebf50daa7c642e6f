"""Downsampling by a strided convolution."""

from torch import nn

from detkit.nn.conv import ConvNorm
from detkit.parts import DownsampleSpec


class ConvDown(DownsampleSpec):
    """A 3x3 convolution of stride 2 with batch norm and SiLU; the YOLO family's."""

    def build(self, inputs: int, outputs: int) -> nn.Module:
        """Return the module from ``inputs`` to ``outputs`` channels."""
        return ConvNorm(inputs, outputs, 3, 2)
