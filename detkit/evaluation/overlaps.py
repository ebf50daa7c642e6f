"""Which detections overlap which boxes by half or more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from detkit.evaluation.curves import IOUS

PAIRS = 1 << 18
"""Pairs whose overlap is computed at once: they fit into a processor's cache, and memory stays small."""


class Overlaps(NamedTuple):
    """P pairs of a detection and a box that it may have found, at IoU 0.50 or any threshold above.

    The boxes of a detection are in the order in which COCO prefers them: by IoU, of equal ones the last given.

    Attributes:
        detections: (P,) int64 places, ascending.
        boxes: (P,) int64 places.
        ious: (P,) float64; of a crowd the share of the detection that is in it.
    """

    detections: np.ndarray
    boxes: np.ndarray
    ious: np.ndarray

    @classmethod
    def between(
        cls, claims: np.ndarray, claim_groups: np.ndarray, boxes: np.ndarray, box_groups: np.ndarray, crowds: np.ndarray
    ) -> Overlaps:
        """Find them among detections and boxes of one group, such as an image and class.

        Args:
            claims: (N, 4) xywh, detections.
            claim_groups: (N,) int64.
            boxes: (A, 4) xywh.
            box_groups: (A,) int64.
            crowds: (A,) bool.
        """
        pieces = [cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
        for ones, others in _pairs(claim_groups, box_groups):
            ious = _ious(claims[ones], boxes[others], crowds[others])
            pieces.append(cls(ones, others, ious).select(ious >= IOUS[0]))
        found = cls(*(np.concatenate(columns) for columns in zip(*pieces, strict=True)))
        return found.select(np.lexsort((-found.boxes, -found.ious, found.detections)))

    def put_last(self, passed: np.ndarray) -> Overlaps:
        """Move the boxes that are ``passed`` (A,) over behind the others of each detection."""
        return self.select(np.argsort(2 * self.detections + passed[self.boxes], kind="stable"))

    def select(self, keep: np.ndarray) -> Overlaps:
        """Return those that ``keep``, a mask or places, names."""
        return Overlaps(*(column[keep] for column in self))


def _pairs(ones: np.ndarray, others: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of all pairs of equal groups, in pieces of some `PAIRS`, those of the first (N,) ascending."""
    order = np.argsort(others, kind="stable")
    groups, sizes = np.unique(others, return_counts=True)
    members = np.flatnonzero(np.isin(ones, groups))
    places = np.searchsorted(groups, ones[members])
    starts, counts = (np.cumsum(sizes) - sizes)[places], sizes[places]
    ends = np.cumsum(counts)
    cuts = np.searchsorted(ends, np.arange(PAIRS, ends[-1] if len(ends) else 0, PAIRS))
    for part, start, count in zip(*(np.split(column, cuts) for column in (members, starts, counts)), strict=True):
        offsets = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        yield np.repeat(part, count), order[np.repeat(start, count) + offsets]


def _ious(one: np.ndarray, other: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """Return the IoU (P,) of boxes xywh, in pycocotools' order of operations."""
    low = np.maximum(one[:, :2], other[:, :2])
    extent = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:]) - low
    both = extent[:, 0] * extent[:, 1]
    mine = one[:, 2] * one[:, 3]
    union = np.where(crowds, mine, mine + other[:, 2] * other[:, 3] - both)
    return np.divide(both, union, out=np.zeros_like(both), where=(extent > 0).all(1))
