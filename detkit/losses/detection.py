"""The criterion of YOLOv8 and YOLO11: box, class and distribution losses of a dense, anchor-free head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from detkit.boxes import from_distances, lift, to_distances
from detkit.losses.ciou import CIoU
from detkit.losses.dfl import distribution_focal_loss, expected_distance
from detkit.losses.reduce import sum_over_processes, world_size
from detkit.losses.task_aligned import TaskAligned
from detkit.parts import Assigner, AssignerSpec, BoxLoss, BoxLossSpec, CriterionSpec
from detkit.structures import Assignment, DenseOutput, Targets


class DetectionCriterion(CriterionSpec):
    """Box loss, binary cross entropy and distribution focal loss over task-aligned assignment."""

    reads = DenseOutput

    box_loss: BoxLossSpec = CIoU()
    """Loss between an assigned prediction's box and its target."""
    assigner: AssignerSpec = TaskAligned()
    """Says which predictions answer for which box."""
    box_gain: float = Field(7.5, ge=0)
    """Weight of the box loss."""
    class_gain: float = Field(0.5, ge=0)
    """Weight of the class loss."""
    dfl_gain: float = Field(1.5, ge=0)
    """Weight of the distribution focal loss."""

    def build(self, num_classes: int, strides: Sequence[int]) -> nn.Module:
        """Return the criterion; a `DenseOutput` says classes and strides itself."""
        gains = {"box": self.box_gain, "class": self.class_gain, "dfl": self.dfl_gain}
        return DenseCriterion(self.box_loss.build(), self.assigner.build(), gains)


class DenseCriterion(nn.Module):
    """Losses of a `DenseOutput`: gain * batch size * sum over predictions / sum of target scores.

    Sums and batch size run over all processes, and the result is multiplied by their number because their gradients are
    averaged: the gradient is that of one process with the whole batch.
    """

    def __init__(self, box_loss: BoxLoss, assigner: Assigner, gains: dict[str, float]) -> None:
        super().__init__()
        self.box_loss, self.assigner, self.gains = box_loss, assigner, gains

    def forward(self, raw: DenseOutput, targets: Targets) -> dict[str, Tensor]:
        """Return ``box``, ``class`` and ``dfl``, each a weighted scalar."""
        strides = raw.strides.unsqueeze(-1)
        with torch.no_grad():
            boxes = from_distances(expected_distance(raw.distances) * strides, raw.anchors)
        assignment = self.assigner(raw.scores, boxes, raw.anchors, targets)
        sums = self._box_sums(raw, targets, assignment)
        sums["class"] = class_sum(raw.scores, targets, assignment)
        scale = self._scale(assignment)
        return {name: gain * scale * sums[name] for name, gain in self.gains.items()}

    def _box_sums(self, raw: DenseOutput, targets: Targets, assignment: Assignment) -> dict[str, Tensor]:
        """Return the weighted sums of the box and the distribution loss over the filled slots."""
        logits = lift(raw.distances.take_along_dim(assignment.prediction[..., None, None], 1))
        anchors, strides = raw.anchors[assignment.prediction], raw.strides[assignment.prediction].unsqueeze(-1)
        predicted = from_distances(expected_distance(logits) * strides, anchors)
        target = targets.boxes.take_along_dim(assignment.target.unsqueeze(-1), 1).to(predicted.dtype)
        size = (raw.anchors + raw.strides.unsqueeze(-1) / 2).amax(0)
        box = self.box_loss(predicted, target, assignment.weight > 0, size)
        dfl = distribution_focal_loss(logits, to_distances(target, anchors) / strides).mean(-1)
        return {"box": (box * assignment.weight).sum(), "dfl": (dfl * assignment.weight).sum()}

    @staticmethod
    def _scale(assignment: Assignment) -> Tensor:
        """Return batch size / sum of target scores (at least 1), for gradients that are averaged over processes."""
        scores = assignment.weight.sum()
        scores, images = sum_over_processes(torch.stack((scores, scores.new_full((), len(assignment.weight))))).unbind()
        return world_size() * images / scores.clamp(min=1)


def class_sum(scores: Tensor, targets: Targets, assignment: Assignment) -> Tensor:
    """Return the binary cross entropy of class logits (B, N, C), summed over all.

    It is softplus(x) - x t; the target t differs from 0 in the slots only, so that it is never laid out.
    """
    labels = targets.labels.gather(1, assignment.target)
    positive = scores.flatten(1).gather(1, assignment.prediction * scores.shape[-1] + labels)
    return F.softplus(lift(scores)).sum() - (positive * assignment.weight).sum()
