"""Reference detectors by name and size, with every slot open.

YOLOv8 and YOLO11 follow the architecture and the scales that their publisher documents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar

from detkit.backbones.csp import CSPBackbone
from detkit.blocks.bottleneck import Bottleneck
from detkit.blocks.c3k import C3k
from detkit.detectors.yolo import YOLO
from detkit.errors import UserError
from detkit.heads.branches import SeparableBranch
from detkit.heads.dense import DenseHead
from detkit.necks.pan import PAN
from detkit.parts import (
    AssignerSpec,
    BackboneSpec,
    BlockSpec,
    BoxLossSpec,
    BranchSpec,
    CriterionSpec,
    DownsampleSpec,
    HeadSpec,
    Insert,
    NeckSpec,
    StageSpec,
    UpsampleSpec,
)
from detkit.spec import Spec, suggestion
from detkit.stages.c2f import C2f
from detkit.stages.c2psa import C2PSA
from detkit.stages.c3k2 import C3k2
from detkit.stages.sppf import SPPF

if TYPE_CHECKING:
    from typing_extensions import Unpack

S = TypeVar("S", bound=Spec)


class Slots(TypedDict, total=False):
    """What `yolov8` and `yolo11` take by keyword; a slot that is not given holds the reference's part."""

    backbone: BackboneSpec
    """Replaces the backbone; the neck keeps its widths."""
    unit: BlockSpec
    """In every stage of the reference's backbone."""
    top: tuple[StageSpec, ...]
    """Run on the backbone's coarsest map."""
    neck: NeckSpec
    """Replaces the neck."""
    neck_unit: BlockSpec
    """In every stage of the reference's neck."""
    upsample: UpsampleSpec
    """In the reference's neck."""
    downsample: DownsampleSpec
    """In the reference's backbone and neck."""
    after: dict[str, BlockSpec | Insert]
    """Blocks added after levels: c3 ... c5, p3 ... p5."""
    remix: tuple[NeckSpec, ...]
    """Run between neck and head."""
    head: HeadSpec
    """Replaces the head."""
    box_branch: BranchSpec
    """Of the reference's head."""
    class_branch: BranchSpec
    """Of the reference's head."""
    criterion: CriterionSpec
    """Replaces the criterion."""
    box_loss: BoxLossSpec
    """Of the reference's criterion."""
    assigner: AssignerSpec
    """Of the reference's criterion."""
    mean: tuple[float, float, float]
    """Subtracted from images in [0, 1]."""
    std: tuple[float, float, float]
    """Divides images."""


PIECES = {
    "unit": ("backbone",),
    "neck_unit": ("neck",),
    "upsample": ("neck",),
    "downsample": ("backbone", "neck"),
    "box_branch": ("head",),
    "class_branch": ("head",),
    "box_loss": ("criterion",),
    "assigner": ("criterion",),
}
"""Slots that are pieces of the reference's own parts, and have no place where another slot replaces these."""


class Scale(NamedTuple):
    """How a family's reference widths and depths become those of one size."""

    depth: float
    width: float
    ceiling: int

    def channels(self, reference: int) -> int:
        """Return the width of this size, a multiple of 8."""
        return math.ceil(min(reference, self.ceiling) * self.width / 8) * 8

    def units(self, reference: int) -> int:
        """Return the depth of this size, at least 1."""
        return max(round(reference * self.depth), 1)


YOLOV8 = {
    "n": Scale(0.33, 0.25, 1024),
    "s": Scale(0.33, 0.50, 1024),
    "m": Scale(0.67, 0.75, 768),
    "l": Scale(1.00, 1.00, 512),
    "x": Scale(1.00, 1.25, 512),
}
YOLO11 = {
    "n": Scale(0.50, 0.25, 1024),
    "s": Scale(0.50, 0.50, 1024),
    "m": Scale(0.50, 1.00, 512),
    "l": Scale(1.00, 1.00, 512),
    "x": Scale(1.00, 1.50, 512),
}


def yolov8(scale: str, **slots: Unpack[Slots]) -> YOLO:
    """Return YOLOv8 of a scale, n, s, m, l or x, with the parts given in ``slots`` in place of its own.

    Raises:
        UserError: no such scale or slot, or a piece of a part that another slot replaces.
    """
    size = _scale("yolov8", YOLOV8, scale)
    c2, p3, p4, p5 = (size.channels(reference) for reference in (128, 256, 512, 1024))
    backbone = CSPBackbone(
        stem=size.channels(64),
        widths=(c2, p3, p4, p5),
        depths=tuple(size.units(reference) for reference in (3, 6, 6, 3)),
        stages=(C2f(unit=Bottleneck()),) * 4,
    )
    neck = PAN(widths=(p3, p4, p5), depths=(size.units(3),) * 4, stages=(C2f(unit=Bottleneck(shortcut=False)),) * 4)
    return _filled("yolov8", YOLO(backbone=backbone, top=(SPPF(),), top_width=p5, neck=neck), slots)


def yolo11(scale: str, **slots: Unpack[Slots]) -> YOLO:
    """Return YOLO11 of a scale, n, s, m, l or x, with the parts given in ``slots`` in place of its own.

    Raises:
        UserError: no such scale or slot, or a piece of a part that another slot replaces.
    """
    size = _scale("yolo11", YOLO11, scale)
    c2, c3, p3, p4, p5 = (size.channels(reference) for reference in (256, 512, 256, 512, 1024))
    deep = C3k2(unit=C3k())
    shallow = deep if scale in ("m", "l", "x") else C3k2()
    units = size.units(2)
    backbone = CSPBackbone(
        stem=size.channels(64),
        widths=(c2, c3, p4, p5),
        downsample_widths=(size.channels(128), p3, p4, p5),
        depths=(units,) * 4,
        stages=(_changed(shallow, expansion=0.25), _changed(shallow, expansion=0.25), deep, deep),
    )
    neck = PAN(widths=(p3, p4, p5), depths=(units,) * 4, stages=(shallow, shallow, shallow, deep))
    head = DenseHead(class_branch=SeparableBranch())
    reference = YOLO(backbone=backbone, top=(SPPF(), C2PSA()), top_width=p5, top_depth=units, neck=neck, head=head)
    return _filled("yolo11", reference, slots)


def _scale(family: str, scales: Mapping[str, Scale], name: str) -> Scale:
    if name not in scales:
        raise UserError(f"zoo.{family}: no scale '{name}'; there are {', '.join(scales)}")
    return scales[name]


def _filled(family: str, reference: YOLO, slots: Mapping[str, Any]) -> YOLO:
    """Return ``reference`` with ``slots`` filled."""
    for name in slots:
        if name not in Slots.__annotations__:
            raise UserError(f"zoo.{family}: no slot '{name}'{suggestion(name, Slots.__annotations__)}")
    parts = {name: part for name, part in slots.items() if name not in PIECES}
    for piece, owners in PIECES.items():
        if piece not in slots:
            continue
        wholes = [whole for whole in owners if whole not in slots]
        if not wholes:
            whole, kind = owners[0], type(slots[owners[0]]).__name__
            raise UserError(f"zoo.{family}: {piece}= changes the reference's {whole}; set it inside {whole}={kind}(...)")
        for whole in wholes:
            parts[whole] = _with_piece(parts.get(whole, getattr(reference, whole)), piece, slots[piece])
    return _changed(reference, **parts)


def _with_piece(whole: Any, piece: str, part: Spec) -> Spec:
    """Return a backbone, neck, head or criterion of the reference with one of its pieces replaced."""
    if piece in ("unit", "neck_unit"):
        return _changed(whole, stages=tuple(_changed(stage, unit=part) for stage in whole.stages))
    return _changed(whole, **{piece: part})


def _changed(spec: S, **fields: Any) -> S:
    """Return ``spec`` with other values in some fields, validated."""
    return type(spec)(**(dict(spec) | fields))
