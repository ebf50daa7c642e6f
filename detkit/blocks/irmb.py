"""iRMB: an inverted residual whose wide map also attends, on a grid of distant positions; the block of EMO.

Rethinking Mobile Block for Efficient Attention-based Models: Jiangning Zhang et al., 2023, arXiv:2301.01146.
Of the normed input, v = attention(expand(x)) or expand(attention(x)); then y = x + project(v + depthwise(v)).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import ClassVar, Literal, cast

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from detkit.nn.conv import ConvNorm, folded_into, relu
from detkit.nn.excite import SqueezeExcite
from detkit.nn.fitted import Fit, fitted
from detkit.nn.norm import frozen
from detkit.nn.widths import fraction, largest_divisor
from detkit.parts import BlockSpec, Odd

ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"relu": relu, "silu": nn.SiLU, "gelu": nn.GELU}

batch_norm = partial(nn.BatchNorm2d, eps=1e-6)
"""Makes batch norms as EMO has them."""


class IRMB(BlockSpec):
    """Inverted residual mobile block; the defaults are those of its class, as articles use it outside of EMO."""

    expansion: float = Field(1.0, gt=0)
    """Width of the values, as a fraction of the channels; cut to a multiple of the heads where these attend to them."""
    kernel_size: Odd = 3
    """Of the depthwise convolution."""
    head_channels: PositiveInt = 64
    """Ceiling of the channels of one head; the largest divisor of the map's channels not above it is used."""
    window_size: PositiveInt = 7
    """Height and width of the grid of positions that attend to one another."""
    attention_first: bool = False
    """Attend to the map, then make the values of it, as EMO does; otherwise attend to the values."""
    activation: Literal["relu", "silu", "gelu"] = "relu"
    """Of the values; that of the depthwise convolution is always SiLU."""
    operator: BlockSpec | None = None
    """What mixes positions in the attention's place; none for the attention."""

    def build(self, channels: int) -> nn.Module:
        """Return the block for maps of ``channels``."""
        width = fraction(channels, self.expansion)
        mixer: nn.Module
        if self.operator is not None:
            mixer = self.operator.build(channels if self.attention_first else width)
        else:
            head = largest_divisor(channels, self.head_channels)
            heads = channels // head
            width = width if self.attention_first else max(1, width // heads) * heads
            mixer = GridAttention(channels, heads, self.window_size)
            mixer = fitted(mixer, Fit("head_channels", self.head_channels, head, channels))
        activation = ACTIVATIONS[self.activation]
        return IRMBBlock(channels, width, mixer, self.attention_first, self.kernel_size, activation=activation)


class IRMBBlock(nn.Module):
    """The block, also of another width or size out than in, which drops both shortcuts.

    Args:
        inputs: channels.
        width: of the values; None for the normed map itself as values, without a layer that makes them.
        mixer: mixes positions; None for nothing.
        mixer_first: mix the map before values are made of it, not the values.
        kernel_size: of the depthwise convolution.
        stride: of the depthwise convolution.
        outputs: channels; None for ``inputs``.
        norm: makes that of the input; None leaves it out.
        activation: makes that of the values.
        bias: of the layer that makes the values.
        excite: weight the channels after the depthwise convolution.
        shortcut: round the depthwise convolution, and round the block.
    """

    official: ClassVar[Mapping[str, str | None]] = {
        "norm.norm": "norm",
        "qk.conv": "mixer.query_key",
        "v.conv": "expand.conv",
        "conv_local": "depthwise",
        "se.conv_reduce": "excite.reduce",
        "se.conv_expand": "excite.expand",
        "proj.conv": "project",
    }

    def __init__(
        self,
        inputs: int,
        width: int | None,
        mixer: nn.Module | None = None,
        mixer_first: bool = False,
        kernel_size: int = 3,
        stride: int = 1,
        outputs: int | None = None,
        norm: Callable[[int], nn.Module] | None = batch_norm,
        activation: Callable[[], nn.Module] = relu,
        bias: bool = False,
        excite: bool = False,
        shortcut: bool = True,
    ) -> None:
        super().__init__()
        outputs = inputs if outputs is None else outputs
        self.shortcut = shortcut and stride == 1 and inputs == outputs
        self.norm = nn.Identity() if norm is None else norm(inputs)
        self.mixer = nn.Identity() if mixer is None else mixer
        self.mixer_first = mixer_first
        self.expand: nn.Module = nn.Identity()
        if width is not None:
            conv = nn.Conv2d(inputs, width, 1, bias=bias)
            self.expand = nn.Sequential(OrderedDict(conv=conv, activation=activation()))
        width = inputs if width is None else width
        self.depthwise = ConvNorm(width, width, kernel_size, stride, groups=width, norm=batch_norm)
        self.excite = SqueezeExcite(width, width, activation) if excite else nn.Identity()
        self.project = nn.Conv2d(width, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        values = self._values(self.norm(x))
        local = self.excite(self.depthwise(values))
        if not self.shortcut:
            return self.project(local)
        return x + self.project(values + local)

    def _values(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W), normed -> (B, width, H, W)."""
        if self.mixer_first:
            return self.expand(self.mixer(x))
        if isinstance(self.mixer, GridAttention):
            return self.mixer(x, self.expand)
        return self.mixer(self.expand(x))

    def fused(self) -> nn.Module:
        """Return a copy without batch norm at the input: it goes into ``expand``, or is constant where others read it too."""
        copy = deepcopy(self)
        if not isinstance(self.norm, nn.BatchNorm2d):
            return copy
        others = isinstance(self.mixer, GridAttention) or (self.mixer_first and not isinstance(self.mixer, nn.Identity))
        if others or not isinstance(copy.expand, nn.Sequential):
            copy.norm = frozen(self.norm)
        else:
            copy.norm = nn.Identity()
            copy.expand.conv = folded_into(cast("nn.Conv2d", self.expand.conv), self.norm)
        return copy


class GridAttention(nn.Module):
    """Attention among positions that lie a fixed distance apart: together, the groups span the whole map.

    A map of H x W makes ceil(H / size) x ceil(W / size) groups of size x size positions; a group takes every
    ceil(H / size)-th row. Zeros fill the map up on the right and below, and are attended to like the rest.

    Args:
        channels: of queries and keys, a multiple of ``heads``.
        heads: a divisor of the values' channels too.
        size: rows and columns of a group.
        bias: of queries and keys.
    """

    def __init__(self, channels: int, heads: int, size: int = 7, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.size = size
        self.query_key = nn.Conv2d(channels, 2 * channels, 1, bias=bias)

    def forward(self, x: Tensor, make_values: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Mix the values of each group.

        Args:
            x: (B, C, H, W).
            make_values: the map, filled up -> its values (B, D, H, W); None for the map itself.

        Returns:
            (B, D, H, W).
        """
        height, width = x.shape[-2:]
        x = pad(x, (0, -width % self.size, 0, -height % self.size))
        query, key = self.query_key(x).chunk(2, 1)
        value = x if make_values is None else make_values(x)
        mixed = scaled_dot_product_attention(self.groups(query), self.groups(key), self.groups(value))
        return self.image(mixed, x)[..., :height, :width]

    def groups(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B * groups, heads, positions of a group, C / heads)."""
        batch, channels, height, width = x.shape
        x = x.reshape(batch, self.heads, channels // self.heads, self.size, height // self.size, self.size, width // self.size)
        return x.permute(0, 4, 6, 1, 3, 5, 2).flatten(4, 5).flatten(0, 2)

    def image(self, groups: Tensor, like: Tensor) -> Tensor:
        """(B * groups, heads, positions of a group, D / heads) -> (B, D, H, W) of a map's size: `groups` undone."""
        batch, _, height, width = like.shape
        x = groups.reshape(batch, height // self.size, width // self.size, self.heads, self.size, self.size, -1)
        return x.permute(0, 3, 6, 4, 1, 5, 2).reshape(batch, -1, height, width)
