"""Query selection: every cell proposes a box, the most certain ones become queries."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from detkit.nn.perceptron import Perceptron, zero_last
from detkit.structures import Proposals

PRIOR = 0.01
"""Score of every class before anything is learnt."""
EPSILON = 1e-5
"""Boxes are kept this far from 0 and 1 where their logits are taken."""


class Selection(nn.Module):
    """Proposes a box and its classes for every cell, and chooses."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Linear(width, num_classes)
        self.boxes = Perceptron(width, width, width, 4)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.constant_(self.classes.bias, prior_logit())
        zero_last(self.boxes)

    def forward(
        self, cells: Tensor, anchors: Tensor, valid: Tensor, centres: Tensor, queries: int
    ) -> tuple[Tensor, Tensor, Proposals]:
        """Choose at most ``queries`` cells of each image.

        Args:
            cells: (B, N, C).
            anchors: (N, 4) logits of each cell's box before anything is learnt, cxcywh.
            valid: (N, 1), 0 for cells whose content is not read.
            centres: (N, 2) of the cells, input pixels.
            queries: Q.

        Returns:
            Content (B, Q, C) and boxes (B, Q, 4) of the queries, detached, best first; and all proposals.
        """
        features = self.norm(self.project(cells * valid))
        scores = self.classes(features)
        boxes = (self.boxes(features) + anchors).sigmoid()
        chosen = scores.detach().amax(-1).topk(min(queries, cells.shape[1])).indices
        content, start = (x.detach().gather(1, chosen.unsqueeze(-1).expand(-1, -1, x.shape[-1])) for x in (features, boxes))
        return content, start, Proposals(boxes, scores, centres, chosen)


def prior_logit() -> float:
    """Return the class logit of `PRIOR`."""
    return math.log(PRIOR / (1 - PRIOR))


def logit(boxes: Tensor) -> Tensor:
    """Return the inverse of the sigmoid, finite for every number (shares in [0, 1])."""
    boxes = boxes.clamp(0, 1)
    return torch.log(boxes.clamp(min=EPSILON) / (1 - boxes).clamp(min=EPSILON))
