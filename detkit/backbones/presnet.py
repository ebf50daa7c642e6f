"""PResNet: the ResNet-vd in RT-DETR's R18, R34, R50 and R101.

Deep residual learning: Kaiming He et al., 2015, arXiv:1512.03385: y = relu(f(x) + x). Bag of tricks: Tong He et al., 2018,
arXiv:1812.01187 (ResNet-D): the stem is three 3x3 convolutions, and a shortcut that halves the size averages before it
projects, so that no position is lost. Unlike there, the first block of every stage projects its shortcut, of the first too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from detkit.backbones.staged import StagedBackbone
from detkit.nn.conv import ConvNorm, NormKind, norm_maker, relu
from detkit.parts import Backbone, BackboneSpec, BlockSpec
from detkit.structures import Level

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks in each stage of the published networks."""

Norm = Callable[[int], nn.Module]


class PResNet(BackboneSpec):
    """ResNet-vd with strides 4, 8, 16, 32; ``depths`` and ``width`` make it smaller than published."""

    depth: Literal[18, 34, 50, 101] = 18
    """Layers of the published network: 18 and 34 have blocks of two 3x3 convolutions, 50 and 101 bottlenecks."""
    depths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] | None = None
    """Blocks in each stage; none for the published network's."""
    width: int = Field(64, ge=2, multiple_of=2)
    """Channels of the stem's output and inside the first stage's blocks; every later stage doubles them."""
    norm: NormKind = "batch"
    """Batch norm; "frozen" is for loaded weights only: no norm ever changes, and the stem does not train."""
    unit: BlockSpec | None = None
    """In each block, replaces the last 3x3 convolution and its norm where its stride is 1; none for the convolution."""

    @property
    def expansion(self) -> int:
        """How much wider a block's output is than its 3x3 convolution: bottlenecks multiply by four."""
        return 4 if self.depth >= 50 else 1

    @property
    def timm_name(self) -> str | None:
        """The name in timm, where the shallow networks are others; None for them, and for what is smaller than published."""
        return f"resnet{self.depth}d" if self.depth >= 50 and self.depths is None and self.width == 64 else None

    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with its levels, or those of the strides ``levels``."""
        given = [Level(self.expansion * self.width << index, 4 << index) for index in range(4)]
        backbone = PResNetBackbone(given, levels, stem(self.width, norm_maker(self.norm)), stages(self))
        if self.norm == "frozen":
            backbone.stem.requires_grad_(False)
        return backbone


class PResNetBackbone(StagedBackbone):
    """Stem and stages; timm's ResNet-D of 50 and 101 layers are the same networks, and have a table."""

    timm: ClassVar[Mapping[str, str | None]] = {
        "conv1.0": "stem.first.conv",
        "conv1.1": "stem.first.norm",
        "conv1.3": "stem.second.conv",
        "conv1.4": "stem.second.norm",
        "conv1.6": "stem.third.conv",
        "bn1": "stem.third.norm",
        **{f"layer{index + 1}": f"stages.{index}.blocks" for index in range(4)},
    }


class ResidualBlock(nn.Module):
    """y = relu(body(x) + shortcut(x))."""

    timm: ClassVar[Mapping[str, str | None]] = {
        "downsample.1": "shortcut.project.conv",
        "downsample.2": "shortcut.project.norm",
        **{f"conv{number}": f"body.{name}.conv" for number, name in enumerate(("first", "second", "third"), 1)},
        **{f"bn{number}": f"body.{name}.norm" for number, name in enumerate(("first", "second", "third"), 1)},
    }

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, Cout, H / stride, W / stride)."""
        return F.relu_(self.body(x) + self.shortcut(x))


def stem(outputs: int, norm: Norm) -> nn.Module:
    """Return three 3x3 convolutions and a pooling, (B, 3, H, W) -> (B, outputs, H/4, W/4)."""
    half = outputs // 2
    first = ConvNorm(3, half, 3, stride=2, activation=relu, norm=norm)
    second = ConvNorm(half, half, 3, activation=relu, norm=norm)
    third = ConvNorm(half, outputs, 3, activation=relu, norm=norm)
    return nn.Sequential(OrderedDict(first=first, second=second, third=third, pool=nn.MaxPool2d(3, 2, 1)))


def stages(spec: PResNet) -> Iterator[nn.Module]:
    """Yield the four stages; each but the first halves the size in its first block."""
    body, norm = bottleneck if spec.expansion > 1 else basic, norm_maker(spec.norm)
    inputs = spec.width
    for index, depth in enumerate(spec.depths or DEPTHS[spec.depth]):
        width, stride = spec.width << index, 2 if index else 1
        outputs = spec.expansion * width
        blocks = [ResidualBlock(body(inputs, width, stride, norm, spec.unit), projection(inputs, outputs, stride, norm))]
        blocks += [ResidualBlock(body(outputs, width, 1, norm, spec.unit), nn.Identity()) for _ in range(depth - 1)]
        yield nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks)))
        inputs = outputs


def basic(inputs: int, width: int, stride: int, norm: Norm, unit: BlockSpec | None) -> nn.Module:
    """Return two 3x3 convolutions, (B, inputs, H, W) -> (B, width, H / stride, W / stride)."""
    first = ConvNorm(inputs, width, 3, stride, activation=relu, norm=norm)
    second = ConvNorm(width, width, 3, activation=None, norm=norm) if unit is None else unit.build(width)
    return nn.Sequential(OrderedDict(first=first, second=second))


def bottleneck(inputs: int, width: int, stride: int, norm: Norm, unit: BlockSpec | None) -> nn.Module:
    """Return a 3x3 convolution between two 1x1, (B, inputs, H, W) -> (B, 4 * width, H / stride, W / stride)."""
    first = ConvNorm(inputs, width, activation=relu, norm=norm)
    if unit is None or stride > 1:
        second: nn.Module = ConvNorm(width, width, 3, stride, activation=relu, norm=norm)
    else:
        second = unit.build(width)
    third = ConvNorm(width, 4 * width, activation=None, norm=norm)
    return nn.Sequential(OrderedDict(first=first, second=second, third=third))


def projection(inputs: int, outputs: int, stride: int, norm: Norm) -> nn.Module:
    """Return the shortcut of a stage's first block; averages over 2x2 positions where it halves the size."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    if stride > 1:
        parts["pool"] = nn.AvgPool2d(2, ceil_mode=True)
    parts["project"] = ConvNorm(inputs, outputs, activation=None, norm=norm)
    return nn.Sequential(parts)
