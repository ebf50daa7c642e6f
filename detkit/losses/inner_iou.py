"""Inner-IoU: any box loss, with the overlap of smaller (or larger) boxes around the same centres.

Zhang, Xu, Zhang: Inner-IoU: More Effective Intersection over Union Loss with Auxiliary Bounding Box. 2023, arXiv:2311.02877:
L + IoU - IoU', where IoU' is that of both boxes scaled about their centres. A ratio below 1 sharpens the slope where boxes
overlap well, one above 1 widens the range where boxes overlap at all.
"""

from __future__ import annotations

from functools import partial

from pydantic import Field
from torch import Tensor

from detkit import boxes
from detkit.losses.ciou import CIoU
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class InnerIoU(BoxLossSpec):
    """Another loss, whose IoU is that of scaled boxes; its other terms stay."""

    loss: BoxLossSpec = CIoU()
    """The other loss. WIoU, which the paper doesn't treat, weighs 1 - IoU' in the place of 1 - IoU."""
    ratio: float = Field(0.75, gt=0)
    """Extents of the scaled boxes, as a fraction; the paper tries 0.5 to 1.5."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the other loss with scaled boxes in its overlap."""
        return self.loss.build(overlap=partial(scaled_overlap, overlap, self.ratio))


def scaled_overlap(overlap: Overlap, ratio: float, a: Tensor, b: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> ``overlap`` (...) of the boxes scaled about their centres by ``ratio``."""
    return overlap(boxes.scaled(a, ratio), boxes.scaled(b, ratio))
