"""Task-aligned assignment: the predictions that are good at both tasks, class and box, answer for a box.

Feng, Zhong, Gao, Scott, Huang: TOOD: Task-aligned One-stage Object Detection. ICCV 2021, arXiv:2108.07755. The alignment of
a prediction with a box is t = score^alpha * IoU^beta; the best few whose anchor lies inside the box learn it, with t rescaled
so that the best of them has its IoU as class score. YOLOv8 and YOLO11 measure with CIoU.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from detkit.boxes import ciou, lift, to_cxcywh, to_xyxy
from detkit.parts import Assigner, AssignerSpec
from detkit.structures import Assignment, Targets

EPSILON = 1e-9
"""Added to the alignment that weights are divided by."""

PAIRS_AT_ONCE = {"cpu": 2**18}
"""How many pairs of box and prediction are compared at once, by device, where not 2**24: what fits the cache."""


class TaskAligned(AssignerSpec):
    """The predictions best at class and box together, of those whose anchor lies inside the box."""

    candidates: int = Field(10, ge=1)
    """Predictions that a box may claim."""
    alpha: float = Field(0.5, ge=0)
    """Power of the class score."""
    beta: float = Field(6.0, gt=0)
    """Power of the CIoU."""
    smallest: float = Field(0.0, ge=0)
    """Pixels to which shorter sides are enlarged to find the anchors inside: 16 helps tiny objects; published models had 0."""

    def build(self) -> Assigner:
        """Return the assigner."""
        return TaskAlignedAssigner(self.candidates, self.alpha, self.beta, self.smallest)


class TaskAlignedAssigner(Assigner):
    """Task-aligned assignment on padded targets, without a data-dependent shape.

    A prediction that several boxes claim goes to the one it overlaps most, of all boxes that its anchor lies in.
    """

    def __init__(self, candidates: int = 10, alpha: float = 0.5, beta: float = 6.0, smallest: float = 0.0) -> None:
        super().__init__()
        self.candidates, self.alpha, self.beta, self.smallest = candidates, alpha, beta, smallest

    @torch.no_grad()
    def forward(self, scores: Tensor, boxes: Tensor, anchors: Tensor, targets: Targets) -> Assignment:
        """Logits (B, N, C), boxes (B, N, 4), anchors (N, 2) -> M * min(candidates, N) slots an image."""
        together = len(scores)
        if not torch.compiler.is_compiling():  # compiled code fuses the comparison
            pairs = targets.labels.shape[1] * len(anchors)
            together = max(1, PAIRS_AT_ONCE.get(scores.device.type, 2**24) // pairs)
        batch = (scores, boxes, targets.boxes, targets.labels, targets.mask)
        groups = zip(*(values.split(together) for values in batch), strict=True)
        assigned = [self._assign(anchors, *group) for group in groups]
        return Assignment(*(torch.cat(parts) for parts in zip(*assigned, strict=True)))

    def _assign(
        self, anchors: Tensor, scores: Tensor, boxes: Tensor, truth: Tensor, labels: Tensor, mask: Tensor
    ) -> Assignment:
        """Assign in a few images; truth (B, M, 4), labels and mask (B, M)."""
        boxes = lift(boxes).mT.contiguous().mT  # each coordinate in one piece: arithmetic on pairs is vectorised
        truth = truth.to(boxes.dtype)
        inside = self._inside(truth, anchors) & mask.unsqueeze(-1)
        overlap = ciou(boxes.unsqueeze(1), truth.unsqueeze(2)).clamp(min=0) * inside
        score = lift(scores.mT.gather(1, labels.unsqueeze(-1).expand_as(overlap))).sigmoid()
        alignment = score.pow(self.alpha) * overlap.pow(self.beta)

        best, prediction = alignment.topk(min(self.candidates, len(anchors)))
        claimed, prediction = best.flatten(1) > 0, prediction.flatten(1)
        target, filled = self._settle(claimed, prediction, overlap)
        pair = target * len(anchors) + prediction
        overlap, alignment = (pairs.flatten(1).gather(1, pair) * filled for pairs in (overlap, alignment))
        none = torch.zeros_like(labels, dtype=boxes.dtype)
        closest = none.scatter_reduce(1, target, overlap, "amax").gather(1, target)
        highest = none.scatter_reduce(1, target, alignment, "amax").gather(1, target)
        return Assignment(prediction, target, alignment * closest / (highest + EPSILON))

    def _inside(self, truth: Tensor, anchors: Tensor) -> Tensor:
        """Boxes (B, M, 4), anchors (N, 2) -> (B, M, N) bool: which anchors lie strictly inside which box."""
        if self.smallest:
            shape = to_cxcywh(truth)
            truth = to_xyxy(torch.cat((shape[..., :2], shape[..., 2:].clamp(min=self.smallest)), -1))
        left, top, right, bottom = truth.unsqueeze(-1).unbind(2)
        x, y = anchors.to(truth.dtype).unbind(-1)
        return (left < x) & (x < right) & (top < y) & (y < bottom)

    @staticmethod
    def _settle(claimed: Tensor, prediction: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
        """Give each claimed prediction to one box and one slot.

        Args:
            claimed: (B, S) bool, S / M slots in a row for each box: which of them hold a claim.
            prediction: (B, S) the prediction that a slot claims.
            overlap: (B, M, N) of each box with each prediction, zero where its anchor lies outside.

        Returns:
            The box (B, S) that each slot's prediction answers for, and which slots are filled (B, S).
        """
        batch, boxes, predictions = overlap.shape
        slots = prediction.shape[1]
        claimant = (torch.arange(slots, device=prediction.device) // (slots // boxes)).expand(batch, -1)
        none, beyond = prediction.new_full((batch, predictions), -1), prediction.new_full((batch, predictions), boxes)
        last = none.scatter_reduce(1, prediction, claimant.where(claimed, -1), "amax").gather(1, prediction)
        first = beyond.scatter_reduce(1, prediction, claimant.where(claimed, boxes), "amin").gather(1, prediction)
        if slots < predictions:
            rival = overlap.gather(2, prediction.unsqueeze(1).expand(-1, boxes, -1)).argmax(1)
        else:  # thousands of boxes
            rival = overlap.argmax(1).gather(1, prediction)
        return torch.where(first == last, claimant, rival), claimed & (first == claimant)
