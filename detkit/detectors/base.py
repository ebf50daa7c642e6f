"""Composing a detector: what YOLO and RT-DETR share.

images -> backbone -> top (coarsest map) -> after.c* -> neck -> after.p* -> remix -> head -> criterion or decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from detkit.errors import UserError
from detkit.nn.fuse import fuse
from detkit.parts import (
    BackboneSpec,
    BlockSpec,
    CriterionSpec,
    Detector,
    DetectorSpec,
    HeadSpec,
    Insert,
    NeckSpec,
    StageSpec,
    needed,
)
from detkit.spec import Spec
from detkit.structures import Level, Predictions, Targets

if TYPE_CHECKING:
    from typing_extensions import Self


class ComposedSpec(DetectorSpec):
    """The slots of a detector that is composed of backbone, neck and head."""

    decodes: ClassVar[type | None] = None
    """Raw output type of the family's heads; None for any."""

    backbone: BackboneSpec
    """Feature pyramid of the image; built with the levels that the neck reads."""
    top: tuple[StageSpec, ...] = ()
    """Run one after the other on the backbone's coarsest map, before the neck."""
    top_width: PositiveInt | None = None
    """Channels that ``top`` puts out, whatever the backbone; none for the backbone's."""
    top_depth: PositiveInt = 1
    """Units in each stage of ``top``."""
    neck: NeckSpec
    """Mixes the backbone's levels."""
    after: dict[str, BlockSpec | Insert] = {}
    """Blocks added after levels: c2 ... c5 are the backbone's maps (the coarsest after ``top``), p2 ... p5 the neck's."""
    remix: tuple[NeckSpec, ...] = ()
    """Run between neck and head: maps in, maps of the same levels out."""
    head: HeadSpec
    """Predicts from the maps."""
    criterion: CriterionSpec
    """Loss of the predictions."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Subtracted from images in [0, 1], a number for each of red, green and blue."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Divides images after ``mean`` is subtracted."""


class ComposedDetector(Detector):
    """A detector made from the slots of a `ComposedSpec`; families add ``decode`` and ``detect``."""

    mean: Tensor
    std: Tensor

    def __init__(self, spec: ComposedSpec, num_classes: int) -> None:
        super().__init__()
        check_raw_types(spec)
        self.num_classes = num_classes
        self.backbone = spec.backbone.build(spec.neck.reads)
        reads = [level.stride for level in self.backbone.out] if spec.neck.reads is None else spec.neck.reads
        giver = type(spec.backbone).__name__
        self.taps = needed(type(spec.neck).__name__, reads, giver, self.backbone.out)
        levels = [self.backbone.out[tap] for tap in self.taps]
        self.top = nn.ModuleDict()
        for part, name in zip(spec.top, unique_names(spec.top), strict=True):
            width = spec.top_width or levels[-1].channels
            self.top[name] = part.build(levels[-1].channels, width, spec.top_depth)
            levels[-1] = Level(width, levels[-1].stride)
        self.neck = spec.neck.build(levels)
        self.after = inserts(spec.after, levels, self.neck.out)
        self.neck_inputs, self.neck_outputs = level_names("c", levels), level_names("p", self.neck.out)
        levels = list(self.neck.out)
        self.remix = nn.ModuleDict()
        for mixer, name in zip(spec.remix, unique_names(spec.remix), strict=True):
            self.remix[name] = remixer = mixer.build(levels)
            levels = list(remixer.out)
        self.head = spec.head.build(levels, num_classes)
        self.strides = tuple(level.stride for level in levels)
        self.criterion = spec.criterion.build(num_classes, self.strides)
        self.normalises = any(spec.mean) or any(value != 1 for value in spec.std)
        self.register_buffer("mean", torch.tensor(spec.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(spec.std)[:, None, None], persistent=False)

    def forward(self, images: Tensor, targets: Targets | None = None) -> Predictions | dict[str, Tensor]:
        """(B, 3, H, W) -> `Predictions`, or the losses where targets are given."""
        raw = self.raw(self.features(images), targets)
        return self.decode(raw, (images.shape[-2], images.shape[-1])) if targets is None else self.loss(raw, targets)

    def features(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) uint8, or floating in [0, 1] -> one map a level, finest first: what the head reads."""
        pyramid = self.backbone(self.prepare(images))
        maps = [pyramid[tap] for tap in self.taps]
        for stage in self.top.values():
            maps[-1] = stage(maps[-1])
        maps = self.neck(self._inserted(self.neck_inputs, maps))
        maps = self._inserted(self.neck_outputs, maps)
        for remixer in self.remix.values():
            maps = remixer(maps)
        return maps

    def prepare(self, images: Tensor) -> Tensor:
        """Bring images to [0, 1] in the parameters' dtype, then normalise them."""
        scaled = images.to(self.mean.dtype)
        if not images.is_floating_point():
            scaled = scaled / 255
        return (scaled - self.mean) / self.std if self.normalises else scaled

    def raw(self, maps: list[Tensor], targets: Targets | None = None) -> Any:
        """One map a level -> the head's own output type."""
        return self.head(maps, targets)

    def loss(self, raw: Any, targets: Targets) -> dict[str, Tensor]:
        """Return weighted, named losses; backpropagate their sum."""
        return self.criterion(raw, targets)

    def fuse(self) -> Self:
        """Return a new copy for inference, with convolutions and norms folded and branches merged."""
        copy = deepcopy(self).eval()
        fuse(copy)
        return copy

    def compilable(self) -> list[nn.Module]:
        """Return all that computes maps, and the head, or what the head names in its place."""
        parts = [self.backbone, *self.top.values(), self.neck, *self.after.values(), *self.remix.values()]
        roles = getattr(self.head, "compilable", ("",))
        return [*parts, *(self.head.get_submodule(role) for role in roles)]

    def _inserted(self, names: Sequence[str], maps: list[Tensor]) -> list[Tensor]:
        return [self.after[name](x) if name in self.after else x for name, x in zip(names, maps, strict=True)]


def check_raw_types(spec: ComposedSpec) -> None:
    """Check that head, criterion and decoding speak of the same raw output.

    Raises:
        UserError: they don't.
    """
    wanted = spec.decodes
    for part, kind in (("head", spec.head.gives), ("criterion", spec.criterion.reads)):
        if kind is not None and wanted is not None and kind is not wanted:
            name, family = type(getattr(spec, part)).__name__, type(spec).__name__
            raise UserError(
                f"model.{part}: {name} is for a {kind.__name__}, and {family} decodes a {wanted.__name__}; "
                f"give it a {part} of its own kind, or write another model"
            )


def level_names(letter: str, levels: Iterable[Level]) -> list[str]:
    """Return the names of levels: c3, c4, c5 or p3, p4, p5."""
    return [f"{letter}{level.number}" for level in levels]


def inserts(after: dict[str, BlockSpec | Insert], backbone: Sequence[Level], neck: Sequence[Level]) -> nn.ModuleDict:
    """Build what is inserted after levels; a bare block is gated.

    Raises:
        UserError: a name that no level has.
    """
    channels = dict(zip(level_names("c", backbone), [level.channels for level in backbone], strict=True))
    channels |= dict(zip(level_names("p", neck), [level.channels for level in neck], strict=True))
    built = nn.ModuleDict()
    for name, part in after.items():
        if name not in channels:
            raise UserError(f"model.after: nobody reads a level '{name}'; there are {', '.join(channels)}")
        insert = part if isinstance(part, Insert) else Insert(block=part)
        built[name] = insert.build(channels[name])
    return built


def unique_names(specs: Sequence[Spec]) -> list[str]:
    """Return a name for each part of a chain, after its kind, so that a new part doesn't rename the others' weights."""
    kinds = [type(spec).__name__.lower() for spec in specs]
    earlier = [kinds[:index].count(kind) for index, kind in enumerate(kinds)]
    return [f"{kind}_{count + 1}" if count else kind for kind, count in zip(kinds, earlier, strict=True)]
