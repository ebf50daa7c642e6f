"""DIoU loss: 1 - distance IoU.

Zheng, Wang, Liu, Li, Ye, Ren: Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression. AAAI 2020,
arXiv:1911.08287.
"""

from __future__ import annotations

from torch import Tensor

from detkit import boxes
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class DIoU(BoxLossSpec):
    """1 - DIoU: overlap, and the distance of the centres."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the loss."""
        return DIoULoss(overlap)


class DIoULoss(BoxLoss):
    """1 - DIoU, in [0, 2]."""

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        return 1 - self.overlap(predicted, target) + boxes.remoteness(predicted, target)
