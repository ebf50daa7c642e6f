"""CIoU loss: 1 - complete IoU, the box loss of YOLOv8 and YOLO11.

Zheng, Wang, Liu, Li, Ye, Ren: Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression. AAAI 2020,
arXiv:1911.08287.
"""

from __future__ import annotations

from torch import Tensor

from detkit import boxes
from detkit.parts import BoxLoss, BoxLossSpec


class CIoU(BoxLossSpec):
    """1 - CIoU: overlap, the distance of the centres, and the difference of shape."""

    def build(self) -> BoxLoss:
        """Return the loss."""
        return CIoULoss()


class CIoULoss(BoxLoss):
    """1 - CIoU, in [0, 3]."""

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        return 1 - boxes.ciou(predicted, target)
