"""The contracts: what every kind of part is built with, has, and maps. Read this file first.

Facts (channels, strides, class counts) are arguments of ``build``; knobs are fields. A part that merges for inference
(convolution and norm, parallel branches) has a method ``fused() -> nn.Module`` that returns the merged module.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator
from torch import Tensor, nn

from detkit.boxes import iou
from detkit.errors import UserError
from detkit.nn.gate import Gated
from detkit.spec import Spec
from detkit.structures import Assignment, Detections, Geometry, Level, Predictions, Targets

if TYPE_CHECKING:
    from typing_extensions import Self


def _odd(value: int) -> int:
    if value < 1 or value % 2 == 0:
        raise ValueError(f"should be odd, so that maps keep their size (got {value})")
    return value


Odd = Annotated[int, AfterValidator(_odd)]
"""A kernel size that can be centred on a position."""


class BlockSpec(Spec):
    """A block: (B, C, H, W) -> the same shape, at any H, W >= 1 in evaluation."""

    home = "detkit.blocks"

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """Return the module for maps of ``channels``."""


class StageSpec(Spec):
    """A host of blocks: (B, Cin, H, W) -> (B, Cout, H, W)."""

    home = "detkit.stages"

    @abstractmethod
    def build(self, inputs: int, outputs: int, depth: int) -> nn.Module:
        """Return a stage of ``depth`` units from ``inputs`` to ``outputs`` channels."""


class UpsampleSpec(Spec):
    """(B, C, H, W) -> (B, C, 2H, 2W)."""

    home = "detkit.resample"

    @abstractmethod
    def build(self, channels: int) -> nn.Module:
        """Return the module for maps of ``channels``."""


class DownsampleSpec(Spec):
    """(B, Cin, H, W) -> (B, Cout, ceil(H/2), ceil(W/2))."""

    home = "detkit.resample"

    @abstractmethod
    def build(self, inputs: int, outputs: int) -> nn.Module:
        """Return the module from ``inputs`` to ``outputs`` channels."""


class BranchSpec(Spec):
    """One output of a dense head on one level: (B, Cin, H, W) -> (B, Cout, H, W)."""

    home = "detkit.heads"

    @abstractmethod
    def build(self, inputs: int, hidden: int, outputs: int) -> nn.Module:
        """Return the branch; the module's ``predict`` is its last layer, whose bias the head initialises."""


class Backbone(nn.Module, ABC):
    """Image (B, 3, H, W) -> one map a level, finest first, as ``out`` says. Never normalises images."""

    out: tuple[Level, ...]

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Return one map (B, level.channels, H / level.stride, W / level.stride) for each level of ``out``."""


class BackboneSpec(Spec):
    """A feature pyramid from images."""

    home = "detkit.backbones"

    @property
    def timm_name(self) -> str | None:
        """Name of this very network in timm, whose weights ``init.backbone=timm`` loads; None where timm lacks it."""
        return None

    @abstractmethod
    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with all its levels, or those of the strides ``levels`` that it has.

        Parameters that serve only unread levels are not created. `needed` turns a missing stride into a sentence.
        """


class Neck(nn.Module, ABC):
    """Maps -> maps; ``out`` says which."""

    out: tuple[Level, ...]

    @abstractmethod
    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Map the levels it was built for, finest first, to the levels of ``out``."""


class NeckSpec(Spec):
    """Mixes levels. As a remixer (between neck and head) it returns the levels it was given, gated where it changes them."""

    home = "detkit.necks"

    @property
    def reads(self) -> tuple[int, ...] | None:
        """Strides it reads, finest first; None for whatever it is given (remixers)."""
        return None

    @abstractmethod
    def build(self, levels: Sequence[Level]) -> Neck:
        """Return the neck for maps of these levels (of the strides it reads, where it names them)."""


class HeadSpec(Spec):
    """Maps -> raw output of its family."""

    home = "detkit.heads"

    gives: ClassVar[type | None] = None
    """Raw output type, `DenseOutput` or `QueryOutput`; None for a type of the head's own, which nothing checks."""

    @abstractmethod
    def build(self, levels: Sequence[Level], num_classes: int) -> nn.Module:
        """Return the head; its forward takes ``(maps, targets=None)`` and returns a NamedTuple of tensors.

        A head that computes with the targets names in an attribute ``compilable``, a tuple of roles, which of its modules
        don't (`Detector.compilable`); any other is compiled whole.
        """


class Assigner(nn.Module, ABC):
    """Decides which dense predictions answer for which boxes; nothing of it takes a gradient."""

    @abstractmethod
    def forward(self, scores: Tensor, boxes: Tensor, anchors: Tensor, targets: Targets) -> Assignment:
        """Assign.

        Args:
            scores: (B, N, C) class logits.
            boxes: (B, N, 4) predicted, xyxy in the unit of the targets.
            anchors: (N, 2) the points x, y that predict, in the same unit.
            targets: the boxes to be found.
        """


class AssignerSpec(Spec):
    """Says which dense predictions answer for which box."""

    home = "detkit.losses"

    @abstractmethod
    def build(self) -> Assigner:
        """Return the assigner."""


Overlap = Callable[[Tensor, Tensor], Tensor]
"""How far two boxes xyxy overlap: (..., 4), (..., 4) -> (...) in [0, 1], 1 where they are equal."""


class BoxLoss(nn.Module, ABC):
    """How far predicted boxes are from their targets; 0 where they are equal.

    Half precision is lifted inside, and degenerate boxes give finite values and gradients. A loss with a running state
    updates it in training only, and averages it over processes.

    Args:
        overlap: what its term 1 - IoU measures in the place of the IoU; all other terms are what they are without.
    """

    def __init__(self, overlap: Overlap = iou) -> None:
        super().__init__()
        self.overlap = overlap

    @abstractmethod
    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """Compare matched boxes.

        Args:
            predicted: (..., 4) xyxy.
            target: (..., 4) xyxy in the same unit.
            valid: (...) bool, which pairs count in statistics over the batch; None for all. The caller drops the rest.
            size: (2,) width and height of the image in the same unit, for losses that are relative to it.

        Returns:
            The loss (...) of each pair, valid or not.
        """


class BoxLossSpec(Spec):
    """A loss between matched boxes.

    One that wraps another builds it with another overlap, made of the one that it is given: wrappers nest.
    """

    home = "detkit.losses"

    @abstractmethod
    def build(self, overlap: Overlap = iou) -> BoxLoss:
        """Return the loss, whose term 1 - IoU measures ``overlap``."""


class ClassLoss(nn.Module, ABC):
    """What the logit of a class costs where the class is absent, and where it is present.

    Logits are independent (a sigmoid each), and no half precision. The caller sums: nearly all logits are of absent classes.
    """

    @abstractmethod
    def absent(self, logits: Tensor) -> Tensor:
        """Return the loss (...) of logits (...) whose class is not there."""

    @abstractmethod
    def present(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Return the loss (...) of logits (...) whose class is there, in a box of ``quality`` (...) in [0, 1], a constant."""


class ClassLossSpec(Spec):
    """A loss of class logits that knows how well the predicted box fits."""

    home = "detkit.losses"

    @abstractmethod
    def build(self) -> ClassLoss:
        """Return the loss."""


class MatcherSpec(Spec):
    """Matches queries with boxes, one to one."""

    home = "detkit.losses"

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the matcher.

        Its forward takes class logits (L, B, Q, C) and boxes (L, B, Q, 4) of L layers, and `Targets`, both boxes cxcywh,
        normalised; it returns (L, B, M) int64, the query of each box or -1.
        """


class CriterionSpec(Spec):
    """(raw output, Targets) -> dict of weighted, named losses; backpropagate their sum."""

    home = "detkit.losses"

    reads: ClassVar[type | None] = None
    """Raw output type; None for any."""

    @abstractmethod
    def build(self, num_classes: int, strides: Sequence[int]) -> nn.Module:
        """Return the criterion."""


class Insert(Spec):
    """A block added after a level: y = x + g * (block(x) - x), one gate g a channel, zero at the start.

    The detector therefore starts as it was without the insert, to the bit. ``gate=False`` is the bare block.
    """

    block: BlockSpec
    """What to insert."""
    gate: bool = True
    """Start as the identity."""

    def build(self, channels: int) -> nn.Module:
        """Return the insert for maps of ``channels``."""
        block = self.block.build(channels)
        return Gated(block, channels) if self.gate else Bare(block)


class Bare(nn.Module):
    """A block without a gate, under the same state-dict name as a gated one."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> same."""
        return self.block(x)


class Detector(nn.Module, ABC):
    """Backbone, top, neck, remixers, head, criterion and decoding, composed.

    ``detector(images)`` gives `Predictions`; ``detector(images, targets)`` gives the losses. Whether targets are given
    decides, never ``training``. Images: (B, 3, H, W), uint8 or floating in [0, 1].
    """

    num_classes: int
    strides: tuple[int, ...]
    """Of the maps that the head reads, finest first."""

    @abstractmethod
    def features(self, images: Tensor) -> list[Tensor]:
        """Return what the head reads: one map a level, finest first."""

    @abstractmethod
    def raw(self, maps: list[Tensor], targets: Targets | None = None) -> Any:
        """Return the head's own output type."""

    @abstractmethod
    def decode(self, raw: Any, size: tuple[int, int]) -> Predictions:
        """Return dense predictions in input pixels for inputs of ``size`` (height, width)."""

    @abstractmethod
    def loss(self, raw: Any, targets: Targets) -> dict[str, Tensor]:
        """Return weighted, named losses."""

    @abstractmethod
    def detect(
        self,
        predictions: Predictions,
        geometry: Geometry | None = None,
        confidence: float = 0.25,
        iou: float = 0.7,
        limit: int = 300,
    ) -> list[Detections]:
        """Return the detections of each image, best first, in original pixels where a geometry is given."""

    @abstractmethod
    def fuse(self) -> Self:
        """Return a new copy for inference, with convolutions and norms folded and branches merged."""

    def compilable(self) -> list[nn.Module]:
        """Return the modules, none within another, that ``compile=true`` compiles each by itself; by default none.

        Their graphs should depend on the shape of the images alone: a module whose input has as many rows as there are boxes
        would be compiled anew for every other number.
        """
        return []


class DetectorSpec(Spec):
    """A whole detector; the class count is a fact of the data."""

    home = "detkit.detectors"

    largest_lr: ClassVar[float] = math.inf
    """Largest learning rate that the family is known to train with; training warns above it."""

    @abstractmethod
    def build(self, num_classes: int) -> Detector:
        """Return the detector for ``num_classes`` classes, with initial weights."""


def needed(reader: str, strides: Sequence[int], giver: str, levels: Sequence[Level]) -> list[int]:
    """Return the positions in ``levels`` of the strides that ``reader`` needs.

    Raises:
        UserError: ``giver`` lacks one of them.
    """
    given = [level.stride for level in levels]
    for stride in strides:
        if stride not in given:
            names = ", ".join(map(str, given))
            raise UserError(f"{reader} needs stride {stride}; {giver} gives strides {names}")
    return [given.index(stride) for stride in strides]
