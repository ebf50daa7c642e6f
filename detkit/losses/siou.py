"""SIoU loss: the distance of the centres counts more where they lie along an axis, and shapes are compared side by side.

Gevorgyan: SIoU Loss: More Powerful Learning for Bounding Box Regression. 2022, arXiv:2205.12740:
1 - IoU + (distance + shape) / 2. The angle costs 1 - 2 sin^2(arcsin(s) - pi/4), where s is the sine of the angle between the
line through the centres and an axis; that is 2 |x y| / (x^2 + y^2) of their offset, written so here, which has no
singularity. With the hull's width W and height H, distance = 2 - e^(-g (x/W)^2) - e^(-g (y/H)^2), g = 2 - angle.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from detkit import boxes
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class SIoU(BoxLossSpec):
    """Overlap, angle and distance of the centres, and the differences of both sides."""

    theta: float = Field(4.0, ge=1)
    """Power of the shape cost: how little small differences count; the paper finds 2 to 6, about 4."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the loss."""
        return SIoULoss(overlap, self.theta)


class SIoULoss(BoxLoss):
    """1 - SIoU, in [0, 3]."""

    def __init__(self, overlap: Overlap = boxes.iou, theta: float = 4.0) -> None:
        super().__init__(overlap)
        self.theta = theta

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        x, y = boxes.centre_offset(predicted, target)
        width, height = boxes.hull(predicted, target)
        weight = boxes.ratio(2 * (x * y).abs(), x.square() + y.square()) - 2
        along_x = 1 - (weight * boxes.ratio(x.square(), width.square())).exp()
        along_y = 1 - (weight * boxes.ratio(y.square(), height.square())).exp()
        shape = shape_cost(*boxes.side_differences(predicted, target), self.theta)
        return 1 - self.overlap(predicted, target) + (along_x + along_y + shape) / 2


def shape_cost(width: Tensor, height: Tensor, theta: float) -> Tensor:
    """Return (1 - e^-width)^theta + (1 - e^-height)^theta (...) of differences (...) of both sides."""
    return (1 - (-width).exp()).pow(theta) + (1 - (-height).exp()).pow(theta)
