"""RT-DETR and RT-DETRv2 in the sizes that were published; the two differ in their training alone.

Yian Zhao et al., 2023, arXiv:2304.08069; Wenyu Lv et al., 2024, arXiv:2407.17140.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypedDict

from detkit.backbones.hgnetv2 import HGNetv2
from detkit.backbones.presnet import PResNet
from detkit.blocks.aifi import AIFI
from detkit.detectors.rtdetr import RTDETR
from detkit.heads.rtdetr import RTDETRHead
from detkit.necks.hybrid import HybridEncoder
from detkit.parts import (
    BackboneSpec,
    BlockSpec,
    BoxLossSpec,
    ClassLossSpec,
    CriterionSpec,
    DownsampleSpec,
    HeadSpec,
    Insert,
    NeckSpec,
    StageSpec,
    UpsampleSpec,
)
from detkit.zoo.slots import Pieces, filled, known, placed

if TYPE_CHECKING:
    from typing_extensions import Unpack


class RTDETRSlots(TypedDict, total=False):
    """What `rtdetr` takes by keyword; a slot that is not given holds the reference's part."""

    backbone: BackboneSpec
    """Replaces the backbone; neck and decoder keep their widths."""
    backbone_unit: BlockSpec
    """In every block of the reference's backbone."""
    norm: str
    """Of the reference's backbone: "frozen" for published weights, "batch" to train from scratch."""
    top: tuple[StageSpec, ...]
    """Run on the backbone's coarsest map."""
    neck: NeckSpec
    """Replaces the hybrid encoder."""
    unit: BlockSpec
    """In every fusion stage of the reference's encoder."""
    intra: BlockSpec | None
    """Attends within the reference encoder's coarsest map."""
    upsample: UpsampleSpec
    """In the reference's encoder."""
    downsample: DownsampleSpec
    """In the reference's encoder."""
    after: dict[str, BlockSpec | Insert]
    """Blocks added after levels: c3 ... c5, p3 ... p5."""
    remix: tuple[NeckSpec, ...]
    """Run between encoder and decoder."""
    head: HeadSpec
    """Replaces the decoder."""
    depth: int
    """Layers of the reference's decoder."""
    queries: int
    """Of the reference's decoder."""
    points: int | tuple[int, ...]
    """Of the reference's decoder: that a head reads on each level."""
    eval_layer: int | None
    """Of the reference's decoder: the layer whose boxes are used."""
    criterion: CriterionSpec
    """Replaces the criterion."""
    class_loss: ClassLossSpec
    """Of the reference's criterion."""
    box_loss: BoxLossSpec
    """Of the reference's criterion."""
    mean: tuple[float, float, float]
    """Subtracted from images in [0, 1]."""
    std: tuple[float, float, float]
    """Divides images."""


PIECES: Pieces = {
    "backbone_unit": ("backbone.unit",),
    "norm": ("backbone.norm",),
    "unit": ("neck.stage.unit",),
    "intra": ("neck.intra",),
    "upsample": ("neck.upsample",),
    "downsample": ("neck.downsample",),
    "depth": ("head.depth",),
    "queries": ("head.queries",),
    "points": ("head.points",),
    "eval_layer": ("head.eval_layer",),
    "class_loss": ("criterion.class_loss",),
    "box_loss": ("criterion.box_loss",),
}


class Size(NamedTuple):
    """One published size.

    Attributes:
        backbone: without frozen norms in R18 and R34 alone.
        depth: layers of the decoder.
        expansion: width of the fusion stages' units, as a fraction of the encoder's.
        width: of the encoder; the decoder is always 256 wide.
        feedforward: of the encoder's attention; None for four times its width.
        layers: of the encoder's attention.
        eval_layer: of the decoder; None for the last.
    """

    backbone: BackboneSpec
    depth: int = 6
    expansion: float = 1.0
    width: int = 256
    feedforward: int | None = None
    layers: int = 1
    eval_layer: int | None = None


SIZES = {
    "r18": Size(PResNet(depth=18), depth=3, expansion=0.5),
    "r34": Size(PResNet(depth=34), depth=4, expansion=0.5),
    "r50": Size(PResNet(depth=50, norm="frozen")),
    "r50_m": Size(PResNet(depth=50, norm="frozen"), expansion=0.5, eval_layer=3),
    "r101": Size(PResNet(depth=101, norm="frozen"), width=384, feedforward=2048),
    "hgnetv2_l": Size(HGNetv2(size="l", norm="frozen")),
    "hgnetv2_x": Size(HGNetv2(size="x", norm="frozen"), width=384, feedforward=2048),
    "hgnetv2_h": Size(HGNetv2(size="h", norm="frozen"), width=512, layers=2),
}


def rtdetr(size: str, **slots: Unpack[RTDETRSlots]) -> RTDETR:
    """Return RT-DETR of a size, r18 to r101 or hgnetv2_l to hgnetv2_h, with the parts given in ``slots`` in place of its own.

    Sizes from r50 on have frozen norms, for published weights; ``norm="batch"`` trains them from scratch.

    Raises:
        UserError: no such size or slot, or a piece of a part that another slot replaces.
    """
    chosen = known("rtdetr", "size", SIZES, size)
    intra = AIFI(layers=chosen.layers, feedforward=chosen.feedforward)
    neck = placed(HybridEncoder(width=chosen.width, intra=intra), ["stage"], expansion=chosen.expansion)
    head = RTDETRHead(depth=chosen.depth, eval_layer=chosen.eval_layer)
    reference = RTDETR(backbone=chosen.backbone, neck=neck, head=head)
    return filled("rtdetr", reference, slots, RTDETRSlots.__annotations__, PIECES)
