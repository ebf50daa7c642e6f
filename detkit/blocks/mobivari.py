"""MobiVari: depthwise and pointwise convolutions without any norm.

Reciprocal Attention Mixing Transformer for Lightweight Image Restoration: Haram Choi et al., 2023, arXiv:2305.11474.
Version 1: y = act(pointwise(x + act(depthwise(x)))). Version 2 widens first: e = act(expand(x)),
y = pointwise(act(e + depthwise(e))). Where the width stays, x is added to y.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from detkit.nn.widths import largest_divisor
from detkit.parts import BlockSpec


class MobiVari(BlockSpec):
    """A depthwise and a pointwise convolution with shortcuts round both; what articles call H-RAMi on one map."""

    version: Literal[1, 2] = 1
    """1 activates after the pointwise convolution; 2 widens before the depthwise one, and ends without activation."""
    expansion: float = Field(1.2, gt=0)
    """Width of the depthwise convolution, as a fraction of the channels; it goes up to the next multiple of ``groups``.

    Of version 2 alone, as is ``groups``.
    """
    groups: PositiveInt = 4
    """Ceiling of the groups of the widening convolution; the largest divisor of the channels not above it is used."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        return self.between(channels, channels)

    def between(self, inputs: int, outputs: int) -> MobiVariBlock:
        """Return the module from ``inputs`` to ``outputs`` channels."""
        return MobiVariBlock(inputs, outputs, self.version, self.expansion, self.groups)


class MobiVariBlock(nn.Module):
    """Version 1 or 2; another width out than in drops the outer shortcut.

    Args:
        inputs: channels.
        outputs: channels; None for ``inputs``.
        version: 1 or 2.
        expansion: of version 2, see `MobiVari`.
        groups: of version 2, see `MobiVari`.
    """

    official: ClassVar[Mapping[str, str | None]] = {"exp_conv": "expand", "dw_conv": "depthwise", "pw_conv": "pointwise"}

    def __init__(
        self, inputs: int, outputs: int | None = None, version: int = 1, expansion: float = 1.2, groups: int = 4
    ) -> None:
        super().__init__()
        outputs = inputs if outputs is None else outputs
        self.shortcut = inputs == outputs
        self.expand: nn.Conv2d | None = None
        width = inputs
        if version == 2:
            groups = largest_divisor(inputs, groups)
            width = (int(inputs * expansion) // groups + 1) * groups  # a multiple goes up to the next one, as published
            self.expand = nn.Conv2d(inputs, width, 1, groups=groups)
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.pointwise = nn.Conv2d(width, outputs, 1)
        self.activation = nn.LeakyReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        y = self._version_1(x) if self.expand is None else self._version_2(self.expand, x)
        return x + y if self.shortcut else y

    def _version_1(self, x: Tensor) -> Tensor:
        return self.activation(self.pointwise(x + self.activation(self.depthwise(x))))

    def _version_2(self, expand: nn.Conv2d, x: Tensor) -> Tensor:
        wide = self.activation(expand(x))
        return self.pointwise(self.activation(wide + self.depthwise(wide)))
