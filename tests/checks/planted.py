"""Blocks with one bug each, as people write them; and one without."""

import dataclasses
import logging
import random
import sys
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from detkit.nn.conv import ConvNorm
from detkit.parts import BlockSpec

CACHE: dict = {}


class Planted(nn.Module):
    """A 3x3 convolution; subclasses spoil it."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv(x)


BLOCKS: dict[str, type[BlockSpec]] = {}
EXPECTED: dict[str, set[str]] = {}
FOLLOWS: dict[str, set[str]] = {}
HALF = {"takes bfloat16 autocast", "takes float16 autocast"}
GRADIENTS = {"trains with one image", *HALF}
SIZES = {"keeps its shapes", "takes any width"}
GRAPHS = {"compiles", "exports"}
COMPARISONS = {
    "copies are equal and apart",
    "fuses",
    "keeps instances apart",
    "round trips its state",
    "takes channels last",
    "treats images apart",
}


def plant(*expected, follows=()):
    """Make a block of a network; say which cases should find its bug, and which may."""

    def wrap(module):
        def build(self, channels):
            return module(channels)

        name = f"Spec{module.__name__}"
        BLOCKS[name] = type(name, (BlockSpec,), {"__doc__": "Planted.", "__module__": __name__, "build": build})
        EXPECTED[name], FOLLOWS[name] = set(expected), set(follows)
        return module

    return wrap


@plant()
class Sound(Planted):
    pass


@plant("keeps its shapes", "keeps its shapes in training", "takes any width")
class Widens(Planted):
    def forward(self, x):
        return torch.cat((x, super().forward(x)), 1)


@plant(*SIZES)
class WholeWindowsOnly(Planted):
    def forward(self, x):
        b, c, h, w = x.shape
        return super().forward(x.reshape(b, c, h // 4, 4, w // 4, 4).flip(3).reshape(b, c, h, w))


@plant("keeps its shapes in training")
class ShrinksInTraining(Planted):
    def forward(self, x):
        x = super().forward(x)
        return functional.avg_pool2d(x, 2) if self.training else x


@plant(*GRADIENTS)
class Idle(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.unused = nn.Parameter(torch.zeros(channels))


@plant(*GRADIENTS)
class RootOfNothing(Planted):
    def forward(self, x):
        return super().forward(x) + (x - x).abs().sqrt()


@plant("trains with one image", follows=HALF | {"trains after inference", "keeps instances apart"})
class NormOfPooled(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.squeeze = ConvNorm(channels, channels)

    def forward(self, x):
        return super().forward(x) * self.squeeze(x.mean((2, 3), keepdim=True)).sigmoid()


@plant("trains after inference", follows={"keeps its dtype", "takes half precision", "stays on its device"})
class KeepsInferenceTables(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.tables = {}

    def forward(self, x):
        key = (x.shape[-1], x.dtype, x.device)
        if key not in self.tables:
            self.tables[key] = torch.linspace(0, 1, x.shape[-1], dtype=x.dtype, device=x.device)
        return self.conv(x) * self.tables[key]


@plant("takes bfloat16 autocast", "takes float16 autocast", "takes half precision", follows={"treats images apart"})
class LosesDigits(Planted):
    def forward(self, x):
        return (self.conv(x) + 600) - 600


@plant("takes float16 autocast", "takes half precision")
class Overflows(Planted):
    def forward(self, x):
        return (self.conv(x) * 1e5) / 1e5


@plant("takes half precision")
class OverflowsInHalf(Planted):
    def forward(self, x):
        return super().forward(x) / ((x * 100).square().sum(1, keepdim=True) + 1).sqrt()


@plant("keeps its dtype")
class CastsByName(Planted):
    def forward(self, x):
        return self.conv(x.float().softmax(1).to(x.dtype))


@plant("takes channels last")
class Views(Planted):
    def forward(self, x):
        return super().forward(x.view(len(x), -1).view(x.shape))


@plant("stays on its device")
class MakesOnTheHost(Planted):
    def forward(self, x):
        return super().forward(x) + torch.arange(x.shape[-1], dtype=x.dtype)


@plant("stays on its device")
class LeavesATableBehind(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.table = torch.linspace(0, 1, channels)[:, None, None]

    def forward(self, x):
        return super().forward(x) * self.table.to(x.dtype)


@plant("stays on its device", *GRAPHS)
class AsksTheDevice(Planted):
    def forward(self, x):
        return super().forward(x) if x.mean().item() > -1 else x


@plant("treats images apart")
class NormsTheBatch(Planted):
    def forward(self, x):
        return super().forward(x - x.mean((0, 2, 3), keepdim=True))


@plant("repeats itself", follows=COMPARISONS | GRAPHS)
class Counts(Planted):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) + self.calls * 0.01


@plant("leaves random states alone", follows={"keeps its dtype"})
class DrawsForNothing(Planted):
    def forward(self, x):
        torch.rand(1)
        return super().forward(x)


@plant("leaves random states alone", follows=GRAPHS)
class DrawsElsewhere(Planted):
    def forward(self, x):
        np.random.rand()
        random.random()
        return super().forward(x)


@plant("leaves its input alone", "starts gated")
class OverwritesItsInput(Planted):
    def forward(self, x):
        x -= 0.5
        return super().forward(x)


@plant("leaves its input alone", "starts gated")
class ActsInPlace(Planted):
    def forward(self, x):
        return super().forward(functional.relu(x, inplace=True))


@plant(
    "registers its parts",
    follows=HALF | {"keeps its dtype", "takes half precision", "stays on its device", "round trips its state"},
)
class HidesInAList(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.more = [nn.Conv2d(channels, channels, 1)]

    def forward(self, x):
        for conv in self.more:
            x = x + conv(x)
        return super().forward(x)


@plant("builds alike from a seed", follows={"repeats itself"})
class DrawsWeightsFromNumpy(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.scale = nn.Parameter(torch.tensor(np.random.rand(channels, 1, 1), dtype=torch.float32))

    def forward(self, x):
        return super().forward(x) * self.scale


@plant("keeps instances apart", follows=GRAPHS)
class CachesInTheClass(Planted):
    tables: ClassVar[dict] = {}

    def forward(self, x):
        key = (x.shape[-1], x.dtype, x.device)
        if key not in self.tables:
            with torch.inference_mode(False):
                self.tables[key] = torch.linspace(0, 1, x.shape[-1], dtype=x.dtype, device=x.device)
        return super().forward(x) + self.tables[key]


@plant("keeps instances apart")
class CountsInTheFile(Planted):
    def forward(self, x):
        CACHE[len(CACHE)] = tuple(x.shape)
        return super().forward(x)


@plant("copies are equal and apart")
class HoldsItself(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.work = lambda x: self.conv(x)  # noqa: PLW0108 (it holds self, as the bug does)

    def forward(self, x):
        return x + self.work(x)


@plant("round trips its state")
class DrawsAnAttribute(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.scale = torch.rand(()).item()

    def forward(self, x):
        return super().forward(x) * self.scale


@plant("round trips its state", follows=GRAPHS | {"copies are equal and apart", "keeps instances apart"})
class GrowsItsState(Planted):
    def forward(self, x):
        self.register_buffer("positions", torch.linspace(0, 1, x.shape[-1], dtype=x.dtype, device=x.device))
        return super().forward(x) + self.positions


@plant("official names lead somewhere")
class NamesTwice(Planted):
    official: ClassVar[dict] = {"layer1": "conv", "layer2": "conv"}


@plant("fuses")
class FusesToAnother(Planted):
    def fused(self):
        return self.conv


@plant("compiles", follows={"exports"})
class BreaksTheGraph(Planted):
    def forward(self, x):
        sys._getframe()
        logging.getLogger(__name__).debug("one")
        return super().forward(x)


@plant("exports")
class RefusesExport(Planted):
    def forward(self, x):
        if torch.compiler.is_exporting():
            raise RuntimeError("not for export")
        return super().forward(x)


@plant("takes any width")
class DividesByEight(Planted):
    def __init__(self, channels):
        super().__init__(channels)
        self.attention = nn.MultiheadAttention(channels, 8)

    def forward(self, x):
        tokens = x.flatten(2).permute(2, 0, 1)
        return super().forward(self.attention(tokens, tokens, tokens)[0].permute(1, 2, 0).reshape(x.shape))


class HoldsCode(BlockSpec):
    """Takes what can't be stored."""

    activation: Any = None
    """Of the block."""

    def build(self, channels):
        return Planted(channels)


class Typo(BlockSpec):
    """Has an official name that leads nowhere."""

    def build(self, channels):
        return TypoBlock(channels)


class TypoBlock(Planted):
    official: ClassVar[dict] = {"layer1": "convolution"}


class Silent(BlockSpec):
    knob: int = 3

    def build(self, channels):
        return Planted(channels)


class NoModule(BlockSpec):
    """Forgets to return."""

    def build(self, channels):
        Planted(channels)


class Crashes(BlockSpec):
    """Breaks wherever it runs."""

    def build(self, channels):
        return CrashesBlock(channels)


class CrashesBlock(Planted):
    def forward(self, x):
        return x + self.conv(x)[..., 1:]


class ForgetsSuper(BlockSpec):
    """Its module doesn't call super().__init__()."""

    def build(self, channels):
        return ForgetsSuperBlock(channels)


class ForgetsSuperBlock(nn.Module):
    def __init__(self, channels):
        self.conv = nn.Conv2d(channels, channels, 1)


class NamesADevice(BlockSpec):
    """Goes to the GPU by itself, where there is none."""

    def build(self, channels):
        return NamesADeviceBlock(channels)


class NamesADeviceBlock(Planted):
    def forward(self, x):
        raise RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU")


class ReturnsTwo(BlockSpec):
    """Returns its input too."""

    def build(self, channels):
        return ReturnsTwoBlock(channels)


class ReturnsTwoBlock(Planted):
    def forward(self, x):
        return super().forward(x), x


class FoursInForward(BlockSpec):
    """Splits channels by four in forward, whatever their number."""

    def build(self, channels):
        return FoursInForwardBlock(channels)


class FoursInForwardBlock(Planted):
    def forward(self, x):
        batch, channels, height, width = x.shape
        return super().forward(x.reshape(batch * 4, channels // 4, height, width).reshape(x.shape))


class Uncounted(BlockSpec):
    """Uses an operation whose cost is unknown."""

    def build(self, channels):
        return UncountedBlock(channels)


class UncountedBlock(Planted):
    def forward(self, x):
        return super().forward(x) + x.cummax(-1).values


@dataclasses.dataclass
class NotAPart:
    """No spec."""
