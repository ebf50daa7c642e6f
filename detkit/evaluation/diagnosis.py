"""What lies behind COCO's numbers: curves, which class is taken for which, and the images where most goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detkit.evaluation.confidence import ConfidenceCurves, WorkingPoint
from detkit.evaluation.ground_truth import Truth
from detkit.evaluation.handout import hand_out
from detkit.evaluation.matches import Matches
from detkit.evaluation.overlaps import Overlaps
from detkit.evaluation.packed import ScoredBoxes

WORST = 16
"""Images shown of each kind."""
MISSED, FALSE, RIGHT = "missed", "false", "right"
"""What is said of a box: to be found and not found; a detection that found none; one that did."""


class JudgedImage(NamedTuple):
    """An image with the boxes that were missed and the detections that were false and right, in this order.

    Attributes:
        file: its name in the ground truth.
        verdicts: N of `MISSED`, `FALSE` and `RIGHT`.
        classes: N class names.
        scores: (N,) confidences; NaN for what was missed.
        boxes: (N, 4) float64 xyxy in original pixels.
    """

    file: str
    verdicts: tuple[str, ...]
    classes: tuple[str, ...]
    scores: np.ndarray
    boxes: np.ndarray

    def count(self, verdict: str) -> int:
        """Return how many boxes have this verdict."""
        return self.verdicts.count(verdict)


class Diagnosis(NamedTuple):
    """Why a detector scores as it does. K classes in order of category id.

    Attributes:
        names: of the classes.
        point: the best confidence, which the confusion and the worst images are at.
        precision_recall: (K, 101) COCO's precision over recall at IoU 0.50; NaN for a class without boxes.
        curves: over the confidence.
        confusion: (K + 1, K + 1) int64; row i, column j: boxes of class i found as class j. The last row is what was found
            where no box is, the last column what was not found.
        missed: the images with the most missed boxes, worst first.
        false: those with the most false detections.
    """

    names: tuple[str, ...]
    point: WorkingPoint
    precision_recall: np.ndarray
    curves: ConfidenceCurves
    confusion: np.ndarray
    missed: tuple[JudgedImage, ...]
    false: tuple[JudgedImage, ...]


class Verdicts(NamedTuple):
    """What is to be said of detections and boxes at one confidence.

    Attributes:
        false: rows of detections.
        right: rows of detections.
        missed: rows of annotations.
    """

    false: np.ndarray
    right: np.ndarray
    missed: np.ndarray

    @classmethod
    def at(cls, confidence: float, matches: Matches, scores: np.ndarray, truth: Truth) -> Verdicts:
        """Judge the detections from a confidence up, and the boxes that they leave."""
        right = np.flatnonzero(matches.right & (scores >= confidence))
        missed = truth.wanted.copy()
        missed[matches.found[right]] = False
        return cls(np.flatnonzero(matches.wrong & (scores >= confidence)), right, np.flatnonzero(missed))


def confusion_matrix(
    verdicts: Verdicts, matches: Matches, found: ScoredBoxes, labels: np.ndarray, truth: Truth, classes: int
) -> np.ndarray:
    """Return the matrix (K + 1, K + 1) of `Diagnosis`.

    The diagonal is COCO's matches. Of what they leave in an image, a false detection takes the missed box of another class that
    it overlaps most, from IoU 0.50 up, the best detection first.

    Args:
        verdicts: on detections and boxes.
        matches: COCO's.
        found: the detections.
        labels: their classes, from 0 to K - 1.
        truth: the boxes.
        classes: K.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    np.add.at(matrix, (truth.labels[matches.found[verdicts.right]], labels[verdicts.right]), 1)
    false, missed = verdicts.false[np.argsort(-found.scores[verdicts.false], kind="stable")], verdicts.missed
    crowds = truth.crowds[missed]
    near = Overlaps.between(found.boxes[false], found.image_ids[false], truth.boxes[missed], truth.image_ids[missed], crowds)
    near = near.select(labels[false[near.detections]] != truth.labels[missed[near.boxes]])
    taken = near.select(hand_out(near.detections, near.boxes, crowds))
    np.add.at(matrix, (truth.labels[missed[taken.boxes]], labels[false[taken.detections]]), 1)
    np.add.at(matrix, (classes, labels[np.delete(false, taken.detections)]), 1)
    np.add.at(matrix, (truth.labels[np.delete(missed, taken.boxes)], classes), 1)
    return matrix


def worst_images(
    verdicts: Verdicts,
    kind: str,
    found: ScoredBoxes,
    labels: np.ndarray,
    truth: Truth,
    names: Sequence[str],
    files: dict[int, str],
) -> tuple[JudgedImage, ...]:
    """Return the images with the most boxes of one verdict, worst first, those of the lower id first among equals.

    Args:
        verdicts: on detections and boxes.
        kind: `MISSED` or `FALSE`.
        found: the detections.
        labels: their classes, from 0 to K - 1.
        truth: the boxes.
        names: of the classes.
        files: file names by image id.
    """
    owners = truth.image_ids[verdicts.missed] if kind == MISSED else found.image_ids[verdicts.false]
    ids, counts = np.unique(owners, return_counts=True)
    worst = []
    for image in ids[np.argsort(-counts, kind="stable")][:WORST].tolist():
        missed, false, right = (
            rows[of[rows] == image]
            for rows, of in (
                (verdicts.missed, truth.image_ids),
                (verdicts.false, found.image_ids),
                (verdicts.right, found.image_ids),
            )
        )
        claimed = np.concatenate([false, right])
        classes = np.concatenate([truth.labels[missed], labels[claimed]]).tolist()
        scores = np.concatenate([np.full(len(missed), np.nan), found.scores[claimed]])
        boxes = _corners(np.concatenate([truth.boxes[missed], found.boxes[claimed]]))
        said = (MISSED,) * len(missed) + (FALSE,) * len(false) + (RIGHT,) * len(right)
        worst.append(JudgedImage(files[image], said, tuple(names[label] for label in classes), scores, boxes))
    return tuple(worst)


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Return boxes xywh as xyxy."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
