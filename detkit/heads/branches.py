"""Branches of a dense head: two convolutions and a prediction."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from detkit.nn.conv import ConvNorm, SeparableConv
from detkit.parts import BlockSpec, BranchSpec, Insert


class ConvBranch(BranchSpec):
    """Two 3x3 convolutions and a 1x1 prediction; both of YOLOv8's branches, YOLO11's box branch."""

    blocks: tuple[BlockSpec | Insert, ...] = ()
    """Run on the level's map before the branch, bare; an ``Insert`` is gated, so that the branch starts as without it."""

    def build(self, inputs: int, hidden: int, outputs: int) -> nn.Module:
        """Return the branch from ``inputs`` over ``hidden`` to ``outputs`` channels."""
        blocks = [block.build(inputs) for block in self.blocks]
        return branch(blocks, ConvNorm(inputs, hidden, 3), ConvNorm(hidden, hidden, 3), nn.Conv2d(hidden, outputs, 1))


class SeparableBranch(BranchSpec):
    """Two separable 3x3 convolutions and a 1x1 prediction; YOLO11's class branch."""

    blocks: tuple[BlockSpec | Insert, ...] = ()
    """Run on the level's map before the branch, bare; an ``Insert`` is gated, so that the branch starts as without it."""

    def build(self, inputs: int, hidden: int, outputs: int) -> nn.Module:
        """Return the branch from ``inputs`` over ``hidden`` to ``outputs`` channels."""
        blocks = [block.build(inputs) for block in self.blocks]
        return branch(blocks, SeparableConv(inputs, hidden), SeparableConv(hidden, hidden), nn.Conv2d(hidden, outputs, 1))


def branch(blocks: list[nn.Module], first: nn.Module, second: nn.Module, predict: nn.Conv2d) -> nn.Module:
    """Chain the steps of a branch under their names."""
    return nn.Sequential(OrderedDict(blocks=nn.Sequential(*blocks), first=first, second=second, predict=predict))
