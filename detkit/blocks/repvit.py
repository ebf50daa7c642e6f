"""RepViT's block: positions are mixed first, by a convolution of several branches, then channels, by a perceptron.

RepViT: Revisiting Mobile CNN From ViT Perspective: Ao Wang et al., 2023, arXiv:2307.09283.
t = norm(norm3(depthwise3(x)) + depthwise1(x) + x), in some blocks weighted by squeeze-and-excitation; y = t + mlp(t). There is
no shortcut round t, as the identity is one of its branches; in inference they are one convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, cast

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from detkit.nn.conv import ConvNorm, folded
from detkit.nn.excite import SqueezeExcite
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec


class RepViTBlock(BlockSpec):
    """A depthwise convolution of three branches and a channel mixer; `fused` merges the branches."""

    excite: bool = True
    """Weight the channels by what the whole map holds; the paper does so in every second block."""
    expansion: float = Field(2.0, gt=0)
    """Width inside the channel mixer, as a fraction of the channels."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        return RepViTBlockModule(channels, self.excite, self.expansion)


class RepViTBlockModule(nn.Module):
    """Token mixer, squeeze-and-excitation where asked for, channel mixer."""

    official: ClassVar[Mapping[str, str | None]] = {
        "token_mixer.0": "token_mixer",
        "token_mixer.1.fc1": "excite.reduce",
        "token_mixer.1.fc2": "excite.expand",
    }
    timm: ClassVar[Mapping[str, str | None]] = {"se.fc1": "excite.reduce", "se.fc2": "excite.expand"}

    def __init__(self, channels: int, excite: bool, expansion: float = 2.0) -> None:
        super().__init__()
        self.token_mixer = BranchedDepthwise(channels)
        self.excite = SqueezeExcite(channels, squeezed(channels)) if excite else nn.Identity()
        self.channel_mixer = ChannelMixer(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return self.channel_mixer(self.excite(self.token_mixer(x)))


class RepViTDownsample(nn.Module):
    """Halves the size by a depthwise convolution, changes the width by a pointwise one, and mixes channels."""

    official: ClassVar[Mapping[str, str | None]] = {
        "token_mixer.0.c": "depthwise.conv",
        "token_mixer.0.bn": "depthwise.norm",
        "token_mixer.2.c": "pointwise.conv",
        "token_mixer.2.bn": "pointwise.norm",
    }
    timm: ClassVar[Mapping[str, str | None]] = {
        "spatial_downsample.c": "depthwise.conv",
        "spatial_downsample.bn": "depthwise.norm",
        "channel_downsample.c": "pointwise.conv",
        "channel_downsample.bn": "pointwise.norm",
        "ffn": "channel_mixer",
    }

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.depthwise = ConvNorm(inputs, inputs, 3, stride=2, groups=inputs, activation=None, norm=nn.BatchNorm2d)
        self.pointwise = ConvNorm(inputs, outputs, activation=None, norm=nn.BatchNorm2d)
        self.channel_mixer = ChannelMixer(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/2, W/2)."""
        return self.channel_mixer(self.pointwise(self.depthwise(x)))


class BranchedDepthwise(nn.Module):
    """y = norm(dense(x) + pointwise(x) + x): both depthwise, 3x3 with a norm of its own and 1x1 without."""

    official: ClassVar[Mapping[str, str | None]] = {
        "conv.c": "dense.conv",
        "conv.bn": "dense.norm",
        "conv1": "pointwise",
        "bn": "norm",
    }
    timm = official

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dense = ConvNorm(channels, channels, 3, groups=channels, activation=None, norm=nn.BatchNorm2d)
        self.pointwise = nn.Conv2d(channels, channels, 1, groups=channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return self.norm(self.dense(x) + self.pointwise(x) + x)

    def fused(self) -> nn.Module:
        """Return one depthwise 3x3 convolution with bias that equals this module in evaluation."""
        merged = folded(self.dense.conv, self.dense.norm)
        centre = F.pad(self.pointwise.weight + 1, (1, 1, 1, 1))
        merged.weight = nn.Parameter(merged.weight + centre)
        merged.bias = nn.Parameter(cast("Tensor", merged.bias) + cast("Tensor", self.pointwise.bias))
        return folded(merged, self.norm)


class ChannelMixer(nn.Module):
    """y = x + reduce(gelu(expand(x))), pointwise with norms; starts as the identity."""

    official: ClassVar[Mapping[str, str | None]] = {
        "m.0.c": "expand.conv",
        "m.0.bn": "expand.norm",
        "m.2.c": "reduce.conv",
        "m.2.bn": "reduce.norm",
    }
    timm: ClassVar[Mapping[str, str | None]] = {
        "conv1.c": "expand.conv",
        "conv1.bn": "expand.norm",
        "conv2.c": "reduce.conv",
        "conv2.bn": "reduce.norm",
    }

    def __init__(self, channels: int, expansion: float = 2.0) -> None:
        super().__init__()
        hidden = fraction(channels, expansion)
        self.expand = ConvNorm(channels, hidden, activation=nn.GELU, norm=nn.BatchNorm2d)
        self.reduce = ConvNorm(hidden, channels, activation=None, norm=nn.BatchNorm2d)
        nn.init.zeros_(cast("Tensor", self.reduce.norm.weight))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return x + self.reduce(self.expand(x))


def squeezed(channels: int) -> int:
    """Return the width inside the squeeze-and-excitation: a quarter, rounded to a multiple of 8, at least 8."""
    return max(8, int(channels / 4 + 4) // 8 * 8)
