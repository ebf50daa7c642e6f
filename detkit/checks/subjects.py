"""Each family's parts as subjects: what they are built with, what they take, what shapes they owe."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from detkit.checks.subject import MapSubject, Size
from detkit.parts import BackboneSpec, BlockSpec, BranchSpec, DownsampleSpec, HeadSpec, NeckSpec, StageSpec, UpsampleSpec
from detkit.structures import DenseOutput, Level, Targets

WIDTH = 32
NUM_CLASSES = 3


def block(spec: BlockSpec, width: int = WIDTH) -> MapSubject:
    """Return a block for maps of ``width`` channels."""
    return _one_map(spec, {"channels": width}, width, width, partial(block, spec))


def stage(spec: StageSpec, width: int = WIDTH) -> MapSubject:
    """Return a stage that makes one and a half times as many channels; of two units, or of one for other widths."""
    facts = {"inputs": width, "outputs": width * 3 // 2, "depth": 2 if width == WIDTH else 1}
    return _one_map(spec, facts, width, facts["outputs"], partial(stage, spec))


def upsample(spec: UpsampleSpec, width: int = WIDTH) -> MapSubject:
    """Return an upsampler."""
    subject = _one_map(spec, {"channels": width}, width, width, partial(upsample, spec))
    return replace(subject, shapes=lambda module, batch, size: [(batch, width, 2 * size[0], 2 * size[1])])


def downsample(spec: DownsampleSpec, width: int = WIDTH) -> MapSubject:
    """Return a downsampler that makes one and a half times as many channels."""
    outputs = width * 3 // 2
    subject = _one_map(spec, {"inputs": width, "outputs": outputs}, width, outputs, partial(downsample, spec))
    return replace(subject, shapes=lambda module, batch, size: [(batch, outputs, -(-size[0] // 2), -(-size[1] // 2))])


def branch(spec: BranchSpec, width: int = WIDTH) -> MapSubject:
    """Return a branch of a dense head with 10 outputs."""
    return _one_map(spec, {"inputs": width, "hidden": 24, "outputs": 10}, width, 10, partial(branch, spec))


def _one_map(spec: Any, facts: dict[str, int], inputs: int, outputs: int, wider: Any) -> MapSubject:
    return MapSubject(
        spec,
        lambda: spec.build(**facts),
        takes=(Level(inputs, 1),),
        shapes=lambda module, batch, size: [(batch, outputs, *size)],
        wider=wider,
        facts=facts,
    )


def backbone(spec: BackboneSpec) -> MapSubject:
    """Return a backbone with all its levels."""
    return MapSubject(
        spec,
        spec.build,
        takes=(Level(3, 1),),
        shapes=level_shapes,
        sizes=((64, 96), (33, 70)),
        training=(64, 64),
    )


def neck(spec: NeckSpec) -> MapSubject:
    """Return a neck for levels of differing widths."""
    levels = [Level(16 + 8 * i, stride) for i, stride in enumerate(spec.reads or (8, 16, 32))]
    return MapSubject(
        spec,
        lambda: spec.build(levels),
        takes=tuple(levels),
        arguments=lambda module, maps: (list(maps),),
        shapes=level_shapes,
        sizes=((64, 96), (33, 70)),
        training=(64, 64),
    )


def head(spec: HeadSpec) -> MapSubject:
    """Return a head for three levels; it is given targets in training."""
    levels = [Level(16 + 8 * i, stride) for i, stride in enumerate((8, 16, 32))]
    return MapSubject(
        spec,
        lambda: spec.build(levels, NUM_CLASSES),
        takes=tuple(levels),
        arguments=_head_arguments,
        sizes=((64, 96), (33, 70)),
        training=(64, 64),
        smooth=spec.gives is DenseOutput,
    )


def _head_arguments(module: nn.Module, maps: list[Tensor]) -> tuple[Any, ...]:
    return (list(maps), some_targets(len(maps[0]))) if module.training else (list(maps),)


def level_shapes(module: Any, batch: int, size: Size) -> list[tuple[int, ...]]:
    """Return the shapes of the maps that a module says it puts out for an image of ``size``."""
    return [(batch, level.channels, *(-(-side // level.stride) for side in size)) for level in module.out]


def some_targets(batch: int, size: float = 64, dtype: torch.dtype = torch.float32) -> Targets:
    """Return boxes in an image of ``size`` pixels a side: three in the first image of a batch, none in the second, ..."""
    generator = torch.Generator().manual_seed(0)
    counts = [(3, 0, 1)[index % 3] for index in range(batch)]
    corners = [torch.rand(count, 2, generator=generator, dtype=dtype) * size / 2 for count in counts]
    sides = [size / 8 + torch.rand(count, 2, generator=generator, dtype=dtype) * size / 4 for count in counts]
    boxes = [torch.cat((corner, corner + side), 1) for corner, side in zip(corners, sides, strict=True)]
    labels = [torch.randint(0, NUM_CLASSES, (count,), generator=generator) for count in counts]
    return Targets.pack(boxes, labels)
