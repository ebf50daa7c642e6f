"""Hungarian matching: each box gets one query of its own, so that all pairs together are as good as can be.

Carion, Massa, Synnaeve, Usunier, Kirillov, Zagoruyko: End-to-End Object Detection with Transformers. ECCV 2020,
arXiv:2005.12872, equation 1. The cost of a pair is a weighted sum of a class cost, the L1 distance of the boxes and -GIoU; as
in Deformable DETR (arXiv:2010.04159) and RT-DETR, the class cost is what focal loss would change by the pair.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from detkit.boxes import giou, lift, to_xyxy
from detkit.losses.focal import FocalLoss
from detkit.parts import MatcherSpec
from detkit.structures import Targets

FORBIDDEN = 1e6
"""The cost of a pair whose cost is not a finite number."""


class Hungarian(MatcherSpec):
    """One query for each box, at the least cost of all pairs together."""

    class_cost: float = Field(2.0, ge=0)
    """Weight of the class cost."""
    l1_cost: float = Field(5.0, ge=0)
    """Weight of the L1 distance of normalised boxes, cxcywh."""
    giou_cost: float = Field(2.0, ge=0)
    """Weight of -GIoU."""

    def build(self) -> HungarianMatcher:
        """Return the matcher."""
        return HungarianMatcher(self.class_cost, self.l1_cost, self.giou_cost)


class HungarianMatcher(nn.Module):
    """Matches all layers and images of a batch in one transfer to the host; nothing of it takes a gradient."""

    def __init__(self, class_cost: float = 2.0, l1_cost: float = 5.0, giou_cost: float = 2.0) -> None:
        super().__init__()
        self.class_cost, self.l1_cost, self.giou_cost = class_cost, l1_cost, giou_cost
        self.focal = FocalLoss(alpha=0.25, gamma=2.0)

    @torch.no_grad()
    def forward(self, scores: Tensor, boxes: Tensor, targets: Targets) -> Tensor:
        """Match.

        Args:
            scores: (L, B, Q, C) class logits of L layers.
            boxes: (L, B, Q, 4) predicted, cxcywh, normalised.
            targets: boxes cxcywh, normalised.

        Returns:
            (L, B, M) int64: the query of each box, or -1 for padding and for boxes in excess of queries.
        """
        costs = self.costs(lift(scores), lift(boxes), targets)
        return assign(costs.where(costs.isfinite(), FORBIDDEN), targets.counts)

    def costs(self, scores: Tensor, boxes: Tensor, targets: Targets) -> Tensor:
        """Logits (L, B, Q, C), boxes (L, B, Q, 4) -> the cost (L, B, M, Q) of each pair, of padding too."""
        truth = targets.boxes.to(boxes.dtype)
        distance = torch.cdist(truth, boxes, p=1)
        logits = scores.mT.gather(2, targets.labels.unsqueeze(-1).expand_as(distance))
        classes = self.focal.present(logits) - self.focal.absent(logits)
        corners = to_xyxy(boxes).mT.contiguous().mT  # each coordinate in one piece: arithmetic on pairs is vectorised
        overlap = giou(to_xyxy(truth).unsqueeze(2), corners.unsqueeze(2))
        return self.class_cost * classes + self.l1_cost * distance - self.giou_cost * overlap


@torch.library.custom_op("detkit::assign", mutates_args=(), schema="(Tensor costs, Tensor counts) -> Tensor")
def assign(costs: Tensor, counts: Tensor) -> Tensor:
    """Solve the assignment problem of each layer and image on the host: one transfer there, one back.

    An operator of its own, so that compilers see one node with known shapes.

    Args:
        costs: (L, B, M, Q), finite.
        counts: (B,), how many of the M boxes are real; at most Q of them get a query.

    Returns:
        (L, B, M) int64: the query of each box, or -1.
    """
    from scipy.optimize import linear_sum_assignment

    packed = torch.cat((costs.flatten(), counts.to(costs.dtype))).cpu().numpy()
    table, lengths = packed[: costs.numel()].reshape(costs.shape), packed[costs.numel() :].astype(np.int64)
    matches = np.full(table.shape[:3], -1, dtype=np.int64)
    for layer, image in np.ndindex(table.shape[:2]):
        boxes, queries = linear_sum_assignment(table[layer, image, : lengths[image]])
        matches[layer, image, boxes] = queries
    return torch.from_numpy(matches).to(costs.device)


@assign.register_fake
def _(costs: Tensor, counts: Tensor) -> Tensor:
    return costs.new_empty(costs.shape[:3], dtype=torch.int64)
