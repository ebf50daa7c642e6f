"""YOLOv8 and YOLO11, after the architecture and the scales that their publisher documents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from detkit.backbones.csp import CSPBackbone
from detkit.blocks.bottleneck import Bottleneck
from detkit.blocks.c3k import C3k
from detkit.detectors.yolo import YOLO
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
from detkit.stages.c2f import C2f
from detkit.stages.c2psa import C2PSA
from detkit.stages.c3k2 import C3k2
from detkit.stages.sppf import SPPF
from detkit.zoo.slots import Pieces, changed, filled, known

if TYPE_CHECKING:
    from typing_extensions import Unpack


class YOLOSlots(TypedDict, total=False):
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


PIECES: Pieces = {
    "unit": ("backbone.stages.*.unit",),
    "neck_unit": ("neck.stages.*.unit",),
    "upsample": ("neck.upsample",),
    "downsample": ("backbone.downsample", "neck.downsample"),
    "box_branch": ("head.box_branch",),
    "class_branch": ("head.class_branch",),
    "box_loss": ("criterion.box_loss",),
    "assigner": ("criterion.assigner",),
}


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


def yolov8(scale: str, **slots: Unpack[YOLOSlots]) -> YOLO:
    """Return YOLOv8 of a scale, n, s, m, l or x, with the parts given in ``slots`` in place of its own.

    Raises:
        UserError: no such scale or slot, or a piece of a part that another slot replaces.
    """
    size = known("yolov8", "scale", YOLOV8, scale)
    c2, p3, p4, p5 = (size.channels(reference) for reference in (128, 256, 512, 1024))
    backbone = CSPBackbone(
        stem=size.channels(64),
        widths=(c2, p3, p4, p5),
        depths=tuple(size.units(reference) for reference in (3, 6, 6, 3)),
        stages=(C2f(unit=Bottleneck()),) * 4,
    )
    neck = PAN(widths=(p3, p4, p5), depths=(size.units(3),) * 4, stages=(C2f(unit=Bottleneck(shortcut=False)),) * 4)
    reference = YOLO(backbone=backbone, top=(SPPF(),), top_width=p5, neck=neck)
    return filled("yolov8", reference, slots, YOLOSlots.__annotations__, PIECES)


def yolo11(scale: str, **slots: Unpack[YOLOSlots]) -> YOLO:
    """Return YOLO11 of a scale, n, s, m, l or x, with the parts given in ``slots`` in place of its own.

    Raises:
        UserError: no such scale or slot, or a piece of a part that another slot replaces.
    """
    size = known("yolo11", "scale", YOLO11, scale)
    c2, c3, p3, p4, p5 = (size.channels(reference) for reference in (256, 512, 256, 512, 1024))
    deep = C3k2(unit=C3k())
    shallow = deep if scale in ("m", "l", "x") else C3k2()
    units = size.units(2)
    backbone = CSPBackbone(
        stem=size.channels(64),
        widths=(c2, c3, p4, p5),
        downsample_widths=(size.channels(128), p3, p4, p5),
        depths=(units,) * 4,
        stages=(changed(shallow, expansion=0.25), changed(shallow, expansion=0.25), deep, deep),
    )
    neck = PAN(widths=(p3, p4, p5), depths=(units,) * 4, stages=(shallow, shallow, shallow, deep))
    head = DenseHead(class_branch=SeparableBranch())
    reference = YOLO(backbone=backbone, top=(SPPF(), C2PSA()), top_width=p5, top_depth=units, neck=neck, head=head)
    return filled("yolo11", reference, slots, YOLOSlots.__annotations__, PIECES)
