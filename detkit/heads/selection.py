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
    """Proposes a box and its classes for every cell, and chooses.

    Attributes:
        class_tensors: names of those with a row for each class.
        everywhere: in training too, all proposals are made so that they take gradients; otherwise only the chosen ones are,
            as nobody reads the others: the same gradients for less time and memory.
    """

    class_tensors = ("classes.weight", "classes.bias")
    everywhere = True

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
        self, cells: Tensor, anchors: Tensor, valid: Tensor, centres: Tensor, queries: int, training: bool
    ) -> tuple[Tensor, Tensor, Proposals]:
        """Choose at most ``queries`` cells of each image.

        Args:
            cells: (B, N, C).
            anchors: (N, 4) logits of each cell's box before anything is learnt, cxcywh.
            valid: (N, 1), 0 for cells whose content is not read.
            centres: (N, 2) of the cells, input pixels.
            queries: Q.
            training: gradients are wanted.

        Returns:
            Content (B, Q, C) and boxes (B, Q, 4) of the queries, detached, best first; and the proposals.
        """
        count = min(queries, cells.shape[1])
        if training and not self.everywhere:
            with torch.no_grad():
                chosen = self._best(self.classes(self.norm(self.project(cells * valid))), count)
            features, scores, boxes = self._propose(rows(cells, chosen) * valid[chosen], anchors[chosen])
            order = torch.arange(count, device=cells.device).expand(len(cells), -1)
            return features.detach(), boxes.detach(), Proposals(boxes, scores, centres, order)
        features, scores, boxes = self._propose(cells * valid, anchors)
        chosen = self._best(scores.detach(), count)
        return rows(features.detach(), chosen), rows(boxes.detach(), chosen), Proposals(boxes, scores, centres, chosen)

    def _propose(self, cells: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cells (B, N, C), anchors (N, 4) or (B, N, 4) -> features (B, N, C), class logits, boxes (B, N, 4) in [0, 1]."""
        features = self.norm(self.project(cells))
        return features, self.classes(features), (self.boxes(features) + anchors).sigmoid()

    @staticmethod
    def _best(scores: Tensor, count: int) -> Tensor:
        """Class logits (B, N, C) -> (B, count), the cells that are surest of a class, best first."""
        return scores.amax(-1).topk(count).indices


def rows(values: Tensor, chosen: Tensor) -> Tensor:
    """Values (B, N, C) of chosen cells (B, Q) -> (B, Q, C)."""
    return values.gather(1, chosen.unsqueeze(-1).expand(-1, -1, values.shape[-1]))


def prior_logit() -> float:
    """Return the class logit of `PRIOR`."""
    return math.log(PRIOR / (1 - PRIOR))


def logit(boxes: Tensor) -> Tensor:
    """Return the inverse of the sigmoid, finite for every number (shares in [0, 1])."""
    boxes = boxes.clamp(0, 1)
    return torch.log(boxes.clamp(min=EPSILON) / (1 - boxes).clamp(min=EPSILON))
