"""GIoU loss: 1 - generalised IoU.

Rezatofighi, Tsoi, Gwak, Sadeghian, Reid, Savarese: Generalized Intersection over Union: A Metric and a Loss for Bounding
Box Regression. CVPR 2019, arXiv:1902.09630.
"""

from __future__ import annotations

from torch import Tensor

from detkit import boxes
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class GIoU(BoxLossSpec):
    """1 - GIoU: overlap, and the empty part of the box around both."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the loss."""
        return GIoULoss(overlap)


class GIoULoss(BoxLoss):
    """1 - GIoU, in [0, 2]."""

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        _, union = boxes.overlap(predicted, target)
        return 1 - self.overlap(predicted, target) + boxes.emptiness(predicted, target, union)
