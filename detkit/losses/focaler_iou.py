"""Focaler-IoU: any box loss, whose overlap runs from 0 to 1 over an interval of IoU and is constant elsewhere.

Zhang, Zhang: Focaler-IoU: More Focused Intersection over Union Loss. 2024, arXiv:2401.10525: L + IoU - IoU', where
IoU' = (IoU - d) / (u - d), cut to [0, 1]. Low d and u attend to boxes that hardly fit, high ones to boxes that fit.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field, model_validator
from torch import Tensor

from detkit import boxes
from detkit.losses.ciou import CIoU
from detkit.parts import BoxLoss, BoxLossSpec, Overlap

if TYPE_CHECKING:
    from typing_extensions import Self


class FocalerIoU(BoxLossSpec):
    """Another loss, whose IoU is stretched over an interval; its other terms stay."""

    loss: BoxLossSpec = CIoU()
    """The other loss. WIoU, which the paper doesn't treat, weighs 1 - IoU' in the place of 1 - IoU."""
    low: float = Field(0.0, ge=0, le=1)
    """IoU up to which the stretched one is 0."""
    high: float = Field(0.95, ge=0, le=1)
    """IoU from which on the stretched one is 1."""

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) should be below high ({self.high})")
        return self

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the other loss with its overlap stretched."""
        return self.loss.build(overlap=partial(stretched_overlap, overlap, self.low, self.high))


def stretched_overlap(overlap: Overlap, low: float, high: float, a: Tensor, b: Tensor) -> Tensor:
    """(..., 4), (..., 4) -> ``overlap`` (...), 0 up to ``low``, 1 from ``high`` on, linear between."""
    return ((overlap(a, b) - low) / (high - low)).clamp(0, 1)
