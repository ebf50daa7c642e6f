"""Detections in the order in which COCO counts them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from detkit.evaluation.curves import LIMITS
from detkit.evaluation.packed import ScoredBoxes


class Queue(NamedTuple):
    """Detections that may count: by class, the best first, among equals in order of image id and as they were given.

    Attributes:
        rows: (N,) int64 places among all detections.
        labels: (N,) int64 classes, from 0 to K - 1, ascending.
        groups: (N,) int64 numbers of their image and class.
        ranks: (N,) int64: how many of the same image and class are before them; below 100.
        boxes: (N, 4) float64 xywh.
    """

    rows: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    ranks: np.ndarray
    boxes: np.ndarray

    @classmethod
    def of(cls, detections: ScoredBoxes, categories: np.ndarray, images: np.ndarray) -> Queue:
        """Line up the detections of these categories (K,) in these images (I,), both ids in ascending order."""
        known = np.isin(detections.image_ids, images) & np.isin(detections.category_ids, categories)
        rows = np.flatnonzero(known)
        labels = np.searchsorted(categories, detections.category_ids[rows])
        groups = number_groups(detections.image_ids[rows], labels, images, len(categories))
        order = np.lexsort((groups, -detections.scores[rows], labels))
        rows, labels, groups = rows[order], labels[order], groups[order]
        ranks = _ranks(groups)
        kept = ranks < LIMITS[-1]
        return cls(rows[kept], labels[kept], groups[kept], ranks[kept], detections.boxes[rows[kept]])


def number_groups(image_ids: np.ndarray, labels: np.ndarray, images: np.ndarray, classes: int) -> np.ndarray:
    """Return a number for each image and class, ascending with the image among equal classes."""
    return np.searchsorted(images, image_ids) * classes + labels


def _ranks(groups: np.ndarray) -> np.ndarray:
    """Return for each entry how many of its group are before it."""
    order = np.argsort(groups, kind="stable")
    together = groups[order]
    places = np.arange(len(groups))
    starts = np.maximum.accumulate(np.where(np.diff(together, prepend=-1) != 0, places, 0))
    ranks = np.empty_like(places)
    ranks[order] = places - starts
    return ranks


def count_within(values: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return running sums (N,) of ``values`` (N,) that start again with each class; ``labels`` (N,) ascend."""
    sums = np.cumsum(values, dtype=np.int64)
    before = np.append(0, sums)[np.searchsorted(labels, np.arange(classes))]
    return sums - before[labels]
