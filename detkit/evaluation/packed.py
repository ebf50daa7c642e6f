"""Detections of many images in a few arrays: small enough to keep for a whole data set, plain enough to send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class ScoredBoxes(NamedTuple):
    """Detections of many images, best first within an image.

    Attributes:
        image_ids: (N,) int64.
        category_ids: (N,) int64, of the ground truth.
        boxes: (N, 4) float64 xywh in original pixels.
        scores: (N,) float64.
    """

    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    @classmethod
    def concatenate(cls, pieces: Sequence[ScoredBoxes]) -> ScoredBoxes:
        """Join the pieces, which may be none, in their order."""
        none = cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 4)), np.empty(0))
        return cls(*(np.concatenate(columns) for columns in zip(none, *pieces, strict=True)))

    def select(self, keep: np.ndarray) -> ScoredBoxes:
        """Return those that ``keep``, a mask (N,), names."""
        return ScoredBoxes(*(column[keep] for column in self))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return them in COCO's results format; the numbers are exact, so that a file scores as the arrays do."""
        columns = zip(*(column.tolist() for column in self), strict=True)
        return [{"image_id": i, "category_id": c, "bbox": box, "score": score} for i, c, box, score in columns]
