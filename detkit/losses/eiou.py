"""EIoU loss: DIoU's, and the differences of width and of height, each by itself.

Zhang, Ren, Zhang, Jia, Wang, Tan: Focal and Efficient IOU Loss for Accurate Bounding Box Regression. Neurocomputing 2022,
arXiv:2101.08158: 1 - IoU + (d / c)^2 + ((w - w') / W)^2 + ((h - h') / H)^2, with the distance d of the centres and the
diagonal c, width W and height H of the smallest box around both. Unlike CIoU's term of shape, it never widens a box to
make it less tall.
"""

from __future__ import annotations

from torch import Tensor

from detkit import boxes
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class EIoU(BoxLossSpec):
    """Overlap, the distance of the centres, and the differences of both sides; without the paper's focal weight."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the loss."""
        return EIoULoss(overlap)


class EIoULoss(BoxLoss):
    """1 - EIoU, in [0, 4]."""

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        sides = zip(boxes.sides(predicted), boxes.sides(target), boxes.hull(predicted, target), strict=True)
        width, height = (boxes.ratio((first - second).square(), around.square()) for first, second, around in sides)
        return 1 - self.overlap(predicted, target) + boxes.remoteness(predicted, target) + width + height
