"""Precision, recall and F1 of the detections from a confidence up, and the confidence at which F1 is best."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from detkit.evaluation.matches import Matches

CONFIDENCES = np.arange(1001) / 1000
"""Where precision, recall and F1 are computed."""


class WorkingPoint(NamedTuple):
    """What a detector does at one confidence, at IoU 0.50: means over the classes that have boxes.

    Attributes:
        confidence: the detections from here up are meant; the one of 0, 0.001, ..., 1 with the best mean F1.
        precision: share of right ones among the detections; -1 where there are none.
        recall: share of the boxes that are found.
        f1: harmonic mean of the two.
    """

    confidence: float
    precision: float
    recall: float
    f1: float

    def numbers(self) -> dict[str, float]:
        """Return them under the names that ``metrics.csv`` and loggers use."""
        return {"precision": self.precision, "recall": self.recall, "F1": self.f1, "confidence": self.confidence}


class ConfidenceCurves(NamedTuple):
    """Curves of the K classes over `CONFIDENCES`, each (K, 1001); NaN for a class without boxes.

    Attributes:
        precision: NaN too where nothing is detected from there up.
        recall: share of the boxes that are found.
        f1: harmonic mean of the two; 0 where nothing is found.
    """

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @classmethod
    def of(cls, matches: Matches, scores: np.ndarray, labels: np.ndarray, boxes: np.ndarray) -> ConfidenceCurves:
        """Count.

        Args:
            matches: of N detections.
            scores: (N,) their confidences.
            labels: (N,) their classes, from 0 to K - 1.
            boxes: (K,) boxes to find of each class.
        """
        bins = np.searchsorted(CONFIDENCES, scores, side="right")  # how many of CONFIDENCES a detection counts at
        right, wrong = (_from_up(bins[chosen], labels[chosen], len(boxes)) for chosen in (matches.right, matches.wrong))
        present = np.where(boxes > 0, boxes, np.nan)[:, None]
        known = present / present
        claims = right + wrong
        precision = known * right / np.where(claims > 0, claims, np.nan)
        return cls(precision, right / present, 2 * right / (claims + present))

    def means(self) -> ConfidenceCurves:
        """Return the means (1001,) over the classes where there is a value; NaN where there is none."""
        return ConfidenceCurves(*(mean_of_known(values) for values in self))

    def best(self) -> int | None:
        """Return the position of the confidence with the best mean F1, the lowest of equal ones; None without boxes."""
        mean = self.means().f1
        return None if np.isnan(mean).any() else int(mean.argmax())

    def point(self, position: int) -> WorkingPoint:
        """Return the means at a position of `CONFIDENCES`."""
        precision, recall, f1 = (float(values[position]) for values in self.means())
        return WorkingPoint(float(CONFIDENCES[position]), -1.0 if np.isnan(precision) else precision, recall, f1)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Return means over the first axis of what is not NaN; NaN where all is."""
    known = ~np.isnan(values)
    counts = known.sum(0)
    return np.where(known, values, 0).sum(0) / np.where(counts > 0, counts, np.nan)


def _from_up(bins: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return (K, 1001): how many of the detections of a class count at a confidence."""
    width = len(CONFIDENCES) + 1
    counts = np.bincount(labels * width + bins, minlength=classes * width).reshape(classes, width)
    return counts[:, ::-1].cumsum(1)[:, ::-1][:, 1:]
