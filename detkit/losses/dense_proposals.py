"""Dense supervision of a query decoder's proposals: many cells answer for a box, as in a dense head.

One-to-one matching of the proposals gives the encoder one positive cell a box. Training from initial weights is faster with
many (the idea of H-DETR, arXiv:2207.13080, and of Co-DETR, arXiv:2211.12860, without their further queries or heads): here
every cell is a prediction, and task-aligned assignment (arXiv:2108.07755) says which ones answer.
"""

from __future__ import annotations

import torch
from pydantic import Field

from detkit.boxes import lift, to_pixels, to_xyxy
from detkit.losses.answers import Answers
from detkit.losses.task_aligned import TaskAligned
from detkit.parts import Assigner, AssignerSpec
from detkit.spec import Spec
from detkit.structures import Proposals, Targets


class DenseProposals(Spec):
    """One-to-many losses on all proposals, in place of the one-to-one losses on the chosen ones."""

    assigner: AssignerSpec = TaskAligned(candidates=8)
    """Says which cells answer for which box."""
    gain: float = Field(1.0, ge=0)
    """Weight of these losses beside those of the decoder."""


def dense_answers(proposals: Proposals, assigner: Assigner, targets: Targets, size: tuple[int, int]) -> Answers:
    """Return every cell as a prediction: one layer, the slots and weights of ``assigner``.

    Args:
        proposals: of all cells.
        assigner: reads boxes in pixels.
        targets: xyxy in pixels.
        size: (height, width) of the input, pixels.
    """
    with torch.no_grad():
        boxes = to_xyxy(to_pixels(lift(proposals.boxes), size))
        slots = assigner(proposals.scores, boxes, proposals.anchors, targets)
    prediction, target, weight = (values.unsqueeze(0) for values in slots)
    return Answers(proposals.scores.unsqueeze(0), proposals.boxes.unsqueeze(0), prediction, target, weight, quality=weight)
