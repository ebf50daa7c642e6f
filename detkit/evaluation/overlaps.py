"""Which detections overlap which boxes of their image and class by half or more."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from detkit.evaluation.curves import IOUS
from detkit.evaluation.ground_truth import Truth
from detkit.evaluation.queue import Queue, number_groups

PAIRS = 1 << 18
"""Pairs whose overlap is computed at once: they fit into a processor's cache, and memory stays small."""


class Overlaps(NamedTuple):
    """P pairs of a detection and a box that it may have found, at IoU 0.50 or any threshold above.

    The boxes of a detection are in the order in which COCO prefers them: by IoU, of equal ones the last given.

    Attributes:
        detections: (P,) int64 places in a `Queue`, ascending.
        boxes: (P,) int64 rows of a `Truth`.
        ious: (P,) float64; of a crowd the share of the detection that is in it.
    """

    detections: np.ndarray
    boxes: np.ndarray
    ious: np.ndarray

    @classmethod
    def of(cls, queue: Queue, truth: Truth, images: np.ndarray, classes: int) -> Overlaps:
        """Find them, for detections in ``images``, ids in ascending order."""
        rows = np.flatnonzero(truth.scored)
        groups = number_groups(truth.image_ids[rows], truth.labels[rows], images, classes)
        rows = rows[np.argsort(groups, kind="stable")]
        groups, sizes = np.unique(groups, return_counts=True)
        claimants = np.flatnonzero(np.isin(queue.groups, groups))
        places = np.searchsorted(groups, queue.groups[claimants])
        counts = sizes[places]
        starts = (np.cumsum(sizes) - sizes)[places]
        ends = np.cumsum(counts)
        cuts = np.searchsorted(ends, np.arange(PAIRS, ends[-1] if len(ends) else 0, PAIRS))
        pieces = [cls(*(np.empty(0, kind) for kind in (np.int64, np.int64, np.float64)))]
        for part, start, count in zip(*(np.split(column, cuts) for column in (claimants, starts, counts)), strict=True):
            detections = np.repeat(part, count)
            offsets = np.arange(len(detections)) - np.repeat(np.cumsum(count) - count, count)
            boxes = rows[np.repeat(start, count) + offsets]
            ious = _ious(queue.boxes[detections], truth.boxes[boxes], truth.crowds[boxes])
            near = ious >= IOUS[0]
            pieces.append(cls(detections[near], boxes[near], ious[near]))
        found = cls(*(np.concatenate(columns) for columns in zip(*pieces, strict=True)))
        return found.select(np.lexsort((-found.boxes, -found.ious, found.detections)))

    def put_last(self, passed: np.ndarray) -> Overlaps:
        """Move the boxes that are ``passed`` (A,) over behind the others of each detection."""
        return self.select(np.argsort(2 * self.detections + passed[self.boxes], kind="stable"))

    def select(self, keep: np.ndarray) -> Overlaps:
        """Return those that ``keep``, a mask or places, names."""
        return Overlaps(*(column[keep] for column in self))


def _ious(one: np.ndarray, other: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """Return the IoU (P,) of boxes xywh, in pycocotools' order of operations."""
    low = np.maximum(one[:, :2], other[:, :2])
    extent = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:]) - low
    both = extent[:, 0] * extent[:, 1]
    mine = one[:, 2] * one[:, 3]
    union = np.where(crowds, mine, mine + other[:, 2] * other[:, 3] - both)
    return np.divide(both, union, out=np.zeros_like(both), where=(extent > 0).all(1))
