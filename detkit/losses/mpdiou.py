"""MPDIoU loss: overlap, and the distances of the corners relative to the image.

Ma, Xu: MPDIoU: A Loss for Efficient and Accurate Bounding Box Regression. 2023, arXiv:2307.07662:
1 - IoU + (d^2 + e^2) / (width^2 + height^2), where d and e are the distances of the upper left and of the lower right corners,
and width and height are the input's.
"""

from __future__ import annotations

from torch import Tensor

from detkit import boxes
from detkit.errors import UserError
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class MPDIoU(BoxLossSpec):
    """Overlap, and the distances of the corners as shares of the image's diagonal."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the loss."""
        return MPDIoULoss(overlap)


class MPDIoULoss(BoxLoss):
    """1 - MPDIoU, in [0, 3]; it is relative to the image's ``size``."""

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        if size is None:
            raise UserError("MPDIoU is relative to the size of the image, which was not given; pass size=")
        corners = (boxes.lift(predicted) - boxes.lift(target)).square().sum(-1)
        return 1 - self.overlap(predicted, target) + corners / boxes.lift(size).square().sum()
