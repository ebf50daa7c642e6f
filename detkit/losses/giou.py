"""GIoU loss: 1 - generalised IoU.

Rezatofighi, Tsoi, Gwak, Sadeghian, Reid, Savarese: Generalized Intersection over Union: A Metric and a Loss for Bounding
Box Regression. CVPR 2019, arXiv:1902.09630.
"""

from __future__ import annotations

from torch import Tensor

from detkit import boxes
from detkit.parts import BoxLoss, BoxLossSpec


class GIoU(BoxLossSpec):
    """1 - GIoU: overlap, and the empty part of the box around both."""

    def build(self) -> BoxLoss:
        """Return the loss."""
        return GIoULoss()


class GIoULoss(BoxLoss):
    """1 - GIoU, in [0, 2]."""

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        return 1 - boxes.giou(predicted, target)
