"""CIoU loss: 1 - complete IoU, the box loss of YOLOv8 and YOLO11.

Zheng, Wang, Liu, Li, Ye, Ren: Distance-IoU Loss: Faster and Better Learning for Bounding Box Regression. AAAI 2020,
arXiv:1911.08287.
"""

from __future__ import annotations

from torch import Tensor

from detkit import boxes
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class CIoU(BoxLossSpec):
    """1 - CIoU: overlap, the distance of the centres, and the difference of shape."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the loss."""
        return CIoULoss(overlap)


class CIoULoss(BoxLoss):
    """1 - CIoU, in [0, 3]."""

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        shape = boxes.disproportion(predicted, target, boxes.iou(predicted, target))
        return 1 - self.overlap(predicted, target) + boxes.remoteness(predicted, target) + shape
