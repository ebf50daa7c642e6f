"""D-RAMiT: attention over the positions of windows and attention over channels, side by side on a map's heads.

Reciprocal Attention Mixing Transformer for Lightweight Image Restoration: Haram Choi et al., 2023, arXiv:2305.11474.
A quarter of the heads attends over channels, the others over positions; a `MobiVari` merges both:
a = MobiVari(concat(spatial, channel)); y = x + norm(a); z = y + norm(feedforward(y)). Both attend by the cosine of query
and key. From block to block, each of the two weights the values of the other (the reciprocal helpers).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from detkit.blocks.mobivari import MobiVari
from detkit.boxes import lift
from detkit.errors import UserError
from detkit.nn.fitted import Fit, fitted
from detkit.nn.norm import ChannelNorm
from detkit.nn.widths import largest_divisor
from detkit.parts import BlockSpec

if TYPE_CHECKING:
    from typing_extensions import Self


class DRAMiT(BlockSpec):
    """Window attention and channel attention side by side, merged by convolutions, then a feed-forward."""

    head_channels: PositiveInt = 16
    """Ceiling of the channels of one head; the largest divisor of the map's channels that leaves two heads is used."""
    window_size: PositiveInt = 8
    """Height and width of the windows; maps are padded to whole windows, and nothing attends to what was padded."""
    shift: NonNegativeInt = 0
    """Positions by which the windows are shifted, cyclically; the paper's every second block has half a window, 4."""
    mobivari: MobiVari = MobiVari(version=2)
    """What merges both kinds of attention."""

    @model_validator(mode="after")
    def _shift_is_within_a_window(self) -> Self:
        if self.shift >= self.window_size:
            raise ValueError(f"a shift of {self.shift} should be less than window_size ({self.window_size})")
        return self

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``, two or more."""
        width = largest_divisor(channels, min(self.head_channels, max(1, channels // 2)))
        block = DRAMiTBlock(channels, channels // width, self.window_size, self.shift, self.mobivari)
        return fitted(block, Fit("head_channels", self.head_channels, width, channels))


class DRAMiTOutput(NamedTuple):
    """What a D-RAMiT block gives, of which H-RAMi and the next block read more than the first.

    Attributes:
        out: (B, C, H, W).
        spatial: (B, channels of the spatial heads, H, W), a helper of the next block.
        channel: (B, channels of the channel heads, H, W), a helper of the next block.
        attention: (B, C, H, W) both, merged, before the norm: what H-RAMi mixes.
    """

    out: Tensor
    spatial: Tensor
    channel: Tensor
    attention: Tensor


class DRAMiTBlock(nn.Module):
    """The block; `attend` also takes the reciprocal helpers and gives all that the authors' block gives.

    Args:
        channels: a multiple of ``heads``.
        heads: two or more; a quarter of them, at least one, attends over channels.
        window_size: of the spatial heads.
        shift: of the windows.
        mobivari: merges both kinds of attention.

    Raises:
        UserError: one head, which cannot be both.
    """

    official: ClassVar[Mapping[str, str | None]] = {
        "qkv_proj.qkv": "qkv",
        "sp_attn": "spatial",
        "ch_attn": "channel",
        "mobivari": "merge",
        "norm1.norm": "attention_norm",
        "ffn.hidden": "feedforward.expand",
        "ffn.out": "feedforward.reduce",
        "norm2.norm": "feedforward_norm",
    }

    def __init__(
        self,
        channels: int,
        heads: int,
        window_size: int = 8,
        shift: int = 0,
        mobivari: MobiVari = MobiVari(version=2),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if heads < 2:
            raise UserError(f"DRAMiT needs a head for positions and one for channels, so 2 channels or more (got {channels})")
        self.heads, width = heads, channels // heads
        self.channel_heads = max(1, heads // 4)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.spatial = WindowAttention(heads - self.channel_heads, width, window_size, shift)
        self.channel = ChannelAttention(self.channel_heads, width)
        self.merge = mobivari.build(channels)
        self.attention_norm = ChannelNorm(channels)
        expand, reduce = nn.Conv2d(channels, 2 * channels, 1), nn.Conv2d(2 * channels, channels, 1)
        self.feedforward = nn.Sequential(OrderedDict(expand=expand, activation=nn.GELU(), reduce=reduce))
        self.feedforward_norm = ChannelNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return self.attend(x).out

    def attend(self, x: Tensor, spatial: Tensor | None = None, channel: Tensor | None = None) -> DRAMiTOutput:
        """Return the block's output, both kinds of attention, and their merger.

        Args:
            x: (B, C, H, W).
            spatial: of the previous block; its mean over channels weights the values of the channel attention.
            channel: of the previous block; its mean over heads weights the values of the spatial attention.
        """
        heads = self.qkv(x).unflatten(1, (self.heads, 3, -1))  # of each head: query, key, value
        by_position, by_channel = heads.split((self.heads - self.channel_heads, self.channel_heads), 1)
        for_channel = None if spatial is None else spatial.mean(1, keepdim=True)[:, :, None]
        for_spatial = None if channel is None else channel.unflatten(1, (self.channel_heads, -1)).mean(1, keepdim=True)
        spatial, channel = self.spatial(by_position, for_spatial), self.channel(by_channel, for_channel)
        attention = self.merge(torch.cat((spatial, channel), 1))
        x = x + self.attention_norm(attention)
        return DRAMiTOutput(x + self.feedforward_norm(self.feedforward(x)), spatial, channel, attention)


class WindowAttention(nn.Module):
    """Attention among the positions of a window; windows that a shift wraps round the border are not masked.

    Args:
        heads: number of them.
        width: channels of one.
        window_size: height and width of a window.
        shift: positions by which the windows are shifted, cyclically.
    """

    official: ClassVar[Mapping[str, str | None]] = {
        "logit_scale": "scale",
        "relative_position_bias_table": "position",
        "relative_position_index": None,
        "proj": "project",
    }
    offsets: Tensor

    def __init__(self, heads: int, width: int, window_size: int, shift: int) -> None:
        super().__init__()
        self.window_size = window_size
        self.shift = shift
        self.scale = log_scale(heads)
        self.position = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, heads))
        self.project = nn.Conv2d(heads * width, heads * width, 1)
        self.register_buffer("offsets", relative_offsets(window_size), persistent=False)

    def forward(self, heads: Tensor, weight: Tensor | None) -> Tensor:
        """Mix the values of each window.

        Args:
            heads: (B, heads, 3, D, H, W) queries, keys and values.
            weight: (B, 1, D, H, W) multiplies the values; None for 1.

        Returns:
            (B, heads * D, H, W).
        """
        query, key, value = heads.unbind(2)
        height, width = value.shape[-2:]
        query, key = self.windows(unit(query, 2)), self.windows(unit(key, 2))
        value = self.windows(value if weight is None else value * weight)
        logits = (query * factor(self.scale)) @ key.mT + self.position[self.offsets].permute(2, 0, 1)
        if height % self.window_size or width % self.window_size:
            padded = self.windows(logits.new_ones(1, 1, 1, height, width)) == 0
            logits = logits.masked_fill(padded.mT, -torch.inf)  # each window has a position that is not padded
        return self.project(self.image(logits.softmax(-1).to(value.dtype) @ value, height, width))

    def windows(self, x: Tensor) -> Tensor:
        """(B, heads, D, H, W) -> (B, windows, heads, positions of a window, D); pads with zeros to whole windows."""
        size = self.window_size
        x = pad(x, (0, -x.shape[-1] % size, 0, -x.shape[-2] % size))
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (-2, -1))
        batch, heads, channels, height, width = x.shape
        x = x.reshape(batch, heads, channels, height // size, size, width // size, size)
        return x.permute(0, 3, 5, 1, 4, 6, 2).reshape(batch, -1, heads, size * size, channels)

    def image(self, windows: Tensor, height: int, width: int) -> Tensor:
        """(B, windows, heads, positions of a window, D) -> (B, heads * D, height, width): `windows` undone."""
        size = self.window_size
        rows, columns = -(-height // size), -(-width // size)
        x = windows.unflatten(1, (rows, columns)).unflatten(4, (size, size))
        x = x.permute(0, 3, 6, 1, 4, 2, 5).reshape(len(x), -1, rows * size, columns * size)
        if self.shift:
            x = x.roll((self.shift, self.shift), (-2, -1))
        return x[..., :height, :width]


class ChannelAttention(nn.Module):
    """Attention among the channels of a head, each seen as the vector of its values at all positions."""

    official: ClassVar[Mapping[str, str | None]] = {"logit_scale": "scale", "proj": "project"}

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.scale = log_scale(heads)
        self.project = nn.Conv2d(heads * width, heads * width, 1)

    def forward(self, heads: Tensor, weight: Tensor | None) -> Tensor:
        """Mix the values of each head's channels.

        Args:
            heads: (B, heads, 3, D, H, W) queries, keys and values.
            weight: (B, 1, 1, H, W) multiplies the values; None for 1.

        Returns:
            (B, heads * D, H, W).
        """
        query, key, value = heads.unbind(2)
        if weight is not None:
            value = value * weight
        query, key = unit(query.flatten(3), 3), unit(key.flatten(3), 3)
        logits = (query * factor(self.scale)) @ key.mT
        mixed = logits.softmax(-1).to(value.dtype) @ value.flatten(3)
        return self.project(mixed.reshape(len(value), -1, *value.shape[-2:]))


def log_scale(heads: int) -> nn.Parameter:
    """Return the logarithm of what multiplies cosines, one for each head, 10 at the start."""
    return nn.Parameter(torch.full((heads, 1, 1), math.log(10)))


def factor(scale: Tensor) -> Tensor:
    """Return what multiplies cosines, 100 at most."""
    return scale.clamp(max=math.log(100)).exp()


def unit(x: Tensor, dim: int) -> Tensor:
    """Return ``x`` at length 1 along ``dim``; the length of half precision is taken in float32."""
    return normalize(lift(x), dim=dim).to(x.dtype)


def relative_offsets(size: int) -> Tensor:
    """Return (size², size²) the row of the position table for each query and key in a window of ``size``."""
    y, x = (axis.flatten() for axis in torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"))
    return (y[:, None] - y + size - 1) * (2 * size - 1) + x[:, None] - x + size - 1
