"""Upsampling by repetition."""

from torch import nn

from detkit.parts import UpsampleSpec


class Nearest(UpsampleSpec):
    """Repeat every position twice in both directions; no parameters."""

    def build(self, channels: int) -> nn.Module:
        """Return the module for maps of any number of channels."""
        return nn.Upsample(scale_factor=2, mode="nearest")
