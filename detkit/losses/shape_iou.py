"""Shape-IoU loss: distances and differences of sides are weighed by the shape of the target.

Zhang, Zhang: Shape-IoU: More Accurate Metric considering Bounding Box Shape and Scale. 2023, arXiv:2312.17663:
1 - IoU + h x^2 / c^2 + w y^2 / c^2 + shape / 2, with the offset x, y of the centres and the diagonal c of the smallest box
around both; w = 2 width^s / (width^s + height^s) of the target, and h = 2 - w. The shape cost is SIoU's, its differences of
width and height weighed by h and w.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from detkit import boxes
from detkit.losses.siou import shape_cost
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class ShapeIoU(BoxLossSpec):
    """Overlap, the distance of the centres and the differences of both sides, where a long side's own axis counts less."""

    scale: float = Field(0.0, ge=0)
    """Power s of the target's sides, to be tuned to the data; 0 weighs both axes alike."""
    theta: float = Field(4.0, ge=1)
    """Power of the shape cost."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the loss."""
        return ShapeIoULoss(overlap, self.scale, self.theta)


class ShapeIoULoss(BoxLoss):
    """1 - Shape-IoU, in [0, 4]."""

    def __init__(self, overlap: Overlap = boxes.iou, scale: float = 0.0, theta: float = 4.0) -> None:
        super().__init__(overlap)
        self.scale, self.theta = scale, theta

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        for_y, for_x = self.weights(target)
        x, y = boxes.centre_offset(predicted, target)
        width, height = boxes.hull(predicted, target)
        distance = boxes.ratio(for_x * x.square() + for_y * y.square(), width.square() + height.square())
        width, height = boxes.side_differences(predicted, target)
        shape = shape_cost(for_x * width, for_y * height, self.theta)
        return 1 - self.overlap(predicted, target) + distance + shape / 2

    def weights(self, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return w and h (...), in [0, 2], of boxes (..., 4)."""
        width, height = (side.detach().clamp(min=boxes.EPSILON).log() for side in boxes.sides(target))
        weight = 2 * (self.scale * (width - height)).sigmoid()
        return weight, 2 - weight
