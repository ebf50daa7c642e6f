"""Which detection found which box at IoU 0.50, as COCO's matching says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NOTHING = -1
"""Found by a detection that was matched with no box."""


class Matches(NamedTuple):
    """COCO's matching of N detections with A annotations at IoU 0.50, boxes of all areas, the 100 best of a class and image.

    COCO hands boxes out to detections in order of their scores, so a match depends on better detections alone: what is found
    from some confidence up is what these matches say of the detections from there up.

    Attributes:
        found: (N,) int64 position of the annotation that a detection was matched with, or `NOTHING`.
        counted: (N,) bool; False for what is neither right nor wrong: in a crowd, or beyond the 100 best.
    """

    found: np.ndarray
    counted: np.ndarray

    @classmethod
    def none(cls, count: int) -> Matches:
        """Return those of ``count`` detections of which none counts."""
        return cls(np.full(count, NOTHING, np.int64), np.zeros(count, bool))

    @property
    def right(self) -> np.ndarray:
        """(N,) bool: detections that count and found a box."""
        return self.counted & (self.found != NOTHING)

    @property
    def wrong(self) -> np.ndarray:
        """(N,) bool: detections that count and found none."""
        return self.counted & (self.found == NOTHING)
