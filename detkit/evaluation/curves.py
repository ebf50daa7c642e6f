"""Precision and recall, and the twelve numbers that COCO makes of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

IOUS = np.linspace(0.5, 0.95, 10)
"""From where up a detection may have found a box."""
RECALLS = np.linspace(0, 1, 101)
"""Where precision is read."""
AREAS = ((0.0, 1e5**2), (0.0, 32.0**2), (32.0**2, 96.0**2), (96.0**2, 1e5**2))
"""In square pixels: all, small, medium, large; both ends belong to them."""
LIMITS = (1, 10, 100)
"""Detections that count of an image and class, the best ones."""


class Curves(NamedTuple):
    """What COCO's numbers are means of; -1 where there is nothing to find.

    Axes: T `IOUS`, R `RECALLS`, K the categories in order of id, A `AREAS`, M `LIMITS`.

    Attributes:
        precision: (T, R, K, A, M).
        recall: (T, K, A, M).
    """

    precision: np.ndarray
    recall: np.ndarray

    @classmethod
    def unknown(cls, classes: int) -> Curves:
        """Return curves of K classes that hold -1 everywhere."""
        shape = (len(IOUS), len(RECALLS), classes, len(AREAS), len(LIMITS))
        return cls(np.full(shape, -1.0), np.full((shape[0], *shape[2:]), -1.0))

    def summary(self) -> dict[str, float]:
        """Return COCO's twelve numbers under their usual names."""
        precision, recall = self.precision, self.recall
        return {
            "AP": _mean(precision[:, :, :, 0, 2]),
            "AP50": _mean(precision[0, :, :, 0, 2]),
            "AP75": _mean(precision[5, :, :, 0, 2]),
            "APs": _mean(precision[:, :, :, 1, 2]),
            "APm": _mean(precision[:, :, :, 2, 2]),
            "APl": _mean(precision[:, :, :, 3, 2]),
            "AR1": _mean(recall[:, :, 0, 0]),
            "AR10": _mean(recall[:, :, 0, 1]),
            "AR100": _mean(recall[:, :, 0, 2]),
            "ARs": _mean(recall[:, :, 1, 2]),
            "ARm": _mean(recall[:, :, 2, 2]),
            "ARl": _mean(recall[:, :, 3, 2]),
        }

    def of_class(self, position: int) -> tuple[float, ...]:
        """Return AP, AP50, APs, APm and APl of the category at ``position`` in order of id."""
        precision = self.precision[:, :, position, :, 2]
        return _mean(precision[:, :, 0]), _mean(precision[0, :, 0]), *(_mean(precision[:, :, area]) for area in (1, 2, 3))

    @property
    def precision_recall(self) -> np.ndarray:
        """(K, R) precision over recall at IoU 0.50, whose means are AP50 of the classes; NaN for a class without boxes."""
        values = self.precision[0, :, :, 0, 2].T
        return np.where(values < 0, np.nan, values)


def _mean(values: np.ndarray) -> float:
    """Return the mean of what exists, -1 where nothing does."""
    present = values[values > -1]
    return float(present.mean()) if present.size else -1.0
