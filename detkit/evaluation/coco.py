"""COCO's twelve numbers, per class too, over every image exactly once, whatever the number of processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed

from detkit.errors import UserError
from detkit.evaluation.confidence import ConfidenceCurves, WorkingPoint
from detkit.evaluation.curves import Curves
from detkit.evaluation.diagnosis import FALSE, MISSED, Diagnosis, Verdicts, confusion_matrix, worst_images
from detkit.evaluation.fast import match_by_arrays
from detkit.evaluation.ground_truth import Truth, category_ids, complete, count_boxes, sorted_ids
from detkit.evaluation.matches import Matches
from detkit.evaluation.packed import ScoredBoxes
from detkit.evaluation.table import align
from detkit.structures import Detections

Evaluator = Literal["fast", "pycocotools"]
"""Who computes: detkit itself, or pycocotools, which takes some eighty times as long for the same numbers."""
NAMED = 8
"""Unreadable images that a table names."""
UNKNOWN = -1
"""Stands for the category of a label whose name the ground truth does not have."""


class ClassResult(NamedTuple):
    """How well one class was found.

    Attributes:
        ap: mean over the IoU thresholds 0.50 to 0.95; -1 where there is no box of the class.
        ap50: the same at IoU 0.50.
        boxes: ground truth boxes, crowds not counted.
        ap_small: ``ap`` of boxes below 32 x 32 pixels.
        ap_medium: of those up to 96 x 96.
        ap_large: of those above.
        precision: at IoU 0.50 and the confidence of `CocoResult.point`; -1 where nothing is detected.
        recall: there.
        f1: there.
    """

    ap: float
    ap50: float
    boxes: int
    ap_small: float = -1
    ap_medium: float = -1
    ap_large: float = -1
    precision: float = -1
    recall: float = -1
    f1: float = -1


class CocoResult(NamedTuple):
    """COCO's numbers.

    Attributes:
        numbers: AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl; -1 where there are no such boxes.
        classes: the same by class name, in the order of the ground truth's category ids.
        images: images scored.
        boxes: ground truth boxes in them, crowds not counted.
        unreadable: names of the images that could not be read, so that neither they nor their boxes count.
        point: precision, recall and F1 at the best confidence; None without boxes.
    """

    numbers: dict[str, float]
    classes: dict[str, ClassResult]
    images: int
    boxes: int
    unreadable: tuple[str, ...] = ()
    point: WorkingPoint | None = None

    def scalars(self) -> dict[str, float]:
        """Return all numbers over all classes by name, those at the best confidence last."""
        return self.numbers | (self.point.numbers() if self.point else {})


class _Evidence(NamedTuple):
    """What the latest numbers were computed from."""

    curves: Curves
    matches: Matches
    by_confidence: ConfidenceCurves


class CocoMetric:
    """Collects detections and scores them as pycocotools does, to the last bit.

    Under several processes each one updates with its own images; `compute` is then called by all of them and gives all of them
    the same result. An image that is given twice counts once.
    """

    def __init__(self, ground_truth: dict[str, Any], names: Sequence[str], evaluator: Evaluator = "fast") -> None:
        """Prepare the ground truth.

        Args:
            ground_truth: a COCO dict with ``images``, ``annotations`` and ``categories``; the file's own ids.
            names: the detector's class names by label; they find the categories. Detections of a class that the ground truth
                does not have cannot be scored and are left out.
            evaluator: who computes.

        Raises:
            UserError: no images, no categories, or no class in common.
        """
        self.ground_truth = complete(ground_truth)
        self.evaluator = evaluator
        ids = category_ids(self.ground_truth, names)
        self._files = {item["id"]: str(item.get("file_name", f"image {item['id']}")) for item in ground_truth["images"]}
        self._categories = sorted(self.ground_truth["categories"], key=lambda item: item["id"])
        self._category_of_label = np.array([UNKNOWN if number is None else number for number in ids], dtype=np.int64)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._image_ids: dict[int, None] = {}
        self._given_ids: dict[int, None] = {}
        self._found: list[ScoredBoxes] = []
        self._gathered: tuple[ScoredBoxes, list[int], list[int]] | None = None
        self._evidence: _Evidence | None = None

    def update(
        self,
        detections: Sequence[Detections],
        image_ids: Tensor | Sequence[int],
        scored: Tensor | Sequence[bool] | None = None,
    ) -> None:
        """Add a batch.

        Args:
            detections: of each image, in original pixels, best first.
            image_ids: (B,) the ground truth's ids.
            scored: (B,) False for images that must not be counted: surplus ones, that are given elsewhere again, and those
                that could not be read; None means that all count.
        """
        ids = torch.as_tensor(image_ids).tolist()
        counted = [True] * len(ids) if scored is None else torch.as_tensor(scored).tolist()
        self._gathered = self._evidence = None
        chosen: dict[int, Detections] = {}
        for image_id, found, counts in zip(ids, detections, counted, strict=True):
            if image_id not in self._files:
                raise ValueError(f"image {image_id} is not in the ground truth")
            if counts and image_id not in self._image_ids:
                chosen.setdefault(image_id, found)
        self._given_ids.update(dict.fromkeys(ids))
        self._image_ids.update(dict.fromkeys(chosen))
        if chosen:
            self._found.append(self._pack(chosen))

    def _pack(self, detections: dict[int, Detections]) -> ScoredBoxes:
        """Return the detections by image id as packed arrays on the host; classes unknown to the ground truth are left out."""
        items = list(detections.values())
        labels = torch.cat([item.labels for item in items]).cpu().numpy()
        xyxy = torch.cat([item.boxes.reshape(-1, 4) for item in items]).detach().cpu().double().numpy()
        packed = ScoredBoxes(
            np.repeat(np.array(list(detections), np.int64), [len(item.scores) for item in items]),
            self._category_of_label[labels],
            np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1),
            torch.cat([item.scores for item in items]).detach().cpu().double().numpy(),
        )
        return packed.select(packed.category_ids != UNKNOWN)

    def compute(self) -> CocoResult:
        """Return the numbers over all images of all processes; every process must call it.

        Raises:
            UserError: most images could not be read, so that the numbers would say nothing.
        """
        found, image_ids, unscored = self._gather()
        unreadable = tuple(self._files[image_id] for image_id in unscored)
        if len(unreadable) > len(image_ids):
            given = len(unreadable) + len(image_ids)
            raise UserError(f"{len(unreadable)} of the {given} images to score cannot be read, for example {unreadable[0]}")
        curves, matches = self._match(found, image_ids)
        counts = count_boxes(self.ground_truth, image_ids)
        boxes = [counts[category["id"]] for category in self._categories]
        by_confidence = ConfidenceCurves.of(matches, found.scores, self._labels(found), np.array(boxes))
        self._evidence = _Evidence(curves, matches, by_confidence)
        best = by_confidence.best()
        classes = {}
        for k, category in enumerate(self._categories):
            ap, ap50, *by_size = curves.of_class(k)
            there = [] if best is None else [float(np.nan_to_num(values[k, best], nan=-1)) for values in by_confidence]
            classes[category["name"]] = ClassResult(ap, ap50, boxes[k], *by_size, *there)
        point = None if best is None else by_confidence.point(best)
        return CocoResult(curves.summary(), classes, len(image_ids), counts.total(), unreadable, point)

    def _match(self, found: ScoredBoxes, image_ids: list[int]) -> tuple[Curves, Matches]:
        if self.evaluator == "fast":
            return match_by_arrays(self.ground_truth, found, image_ids)
        from detkit.evaluation.reference import match_by_pycocotools  # pycocotools is not needed otherwise

        return match_by_pycocotools(self.ground_truth, found, image_ids)

    def diagnosis(self) -> Diagnosis | None:
        """Return what lies behind the latest numbers; None before `compute`, and where there are no boxes to find."""
        if self._evidence is None:
            return None
        (found, image_ids, _), (curves, matches, by_confidence) = self._gather(), self._evidence
        best = by_confidence.best()
        if best is None:
            return None
        point, names = by_confidence.point(best), tuple(category["name"] for category in self._categories)
        labels, truth = self._labels(found), Truth.of(self.ground_truth, image_ids)
        verdicts = Verdicts.at(point.confidence, matches, found.scores, truth)
        confusion = confusion_matrix(verdicts, matches, found, labels, truth, len(names))
        missed, false = (worst_images(verdicts, kind, found, labels, truth, names, self._files) for kind in (MISSED, FALSE))
        return Diagnosis(names, point, curves.precision_recall, by_confidence, confusion, missed, false)

    def _labels(self, found: ScoredBoxes) -> np.ndarray:
        """Return the classes of detections as their places in order of category id."""
        return np.searchsorted(sorted_ids(self.ground_truth), found.category_ids)

    def results(self) -> list[dict[str, Any]]:
        """Return all detections in COCO's results format; after `compute` any process may call it alone."""
        return self._gather()[0].to_dicts()

    def write_results(self, path: Path) -> None:
        """Write `results` as JSON, the file that COCO's own evaluation reads."""
        path.write_text(json.dumps(self.results()), encoding="utf-8")

    def _gather(self) -> tuple[ScoredBoxes, list[int], list[int]]:
        """Return the detections, the ids of the scored images and those of images that nobody could score, of all processes.

        An image that several have seen is the first one's.
        """
        if self._gathered is None:
            mine = (ScoredBoxes.concatenate(self._found), list(self._image_ids), list(self._given_ids))
            shares = [mine]
            if distributed.is_available() and distributed.is_initialized():
                shares = [mine] * distributed.get_world_size()
                distributed.all_gather_object(shares, mine)
            pieces, owned = [], dict[int, None]()
            for found, image_ids, _ in shares:
                pieces.append(found.select(~np.isin(found.image_ids, list(owned))))
                owned.update(dict.fromkeys(image_ids))
            unscored = dict.fromkeys(image_id for _, _, given in shares for image_id in given if image_id not in owned)
            self._gathered = (ScoredBoxes.concatenate(pieces), list(owned), list(unscored))
        return self._gathered


def format_table(result: CocoResult) -> str:
    """Return the twelve numbers, those at the best confidence, and the numbers of each class as aligned text.

    ``-`` stands where there are no boxes to find.
    """
    names = list(result.numbers)
    lines = [f"{result.images} images, {result.boxes} boxes"]
    if result.unreadable:
        count, named = len(result.unreadable), ", ".join(result.unreadable[:NAMED])
        more = f" and {count - NAMED} more" if count > NAMED else ""
        lines.append(f"{count} image{'s' * (count > 1)} could not be read: {named}{more}")
    for row in (names[:6], names[6:]):
        lines += ["", *align([row, [_number(result.numbers[name]) for name in row]])]
    if result.point:
        confidence, precision, recall, f1 = map(_number, result.point)
        lines += ["", f"precision {precision}, recall {recall}, F1 {f1} at the best confidence, {confidence}, and IoU 0.50"]
    classes = [["class", "boxes", "AP", "AP50", "APs", "APm", "APl", "precision", "recall", "F1"]]
    for name, (ap, ap50, boxes, *others) in result.classes.items():
        classes.append([name, str(boxes), *map(_number, (ap, ap50, *others))])
    return "\n".join([*lines, "", *align(classes, left=1)])


def _number(value: float) -> str:
    return "-" if value < 0 else f"{value:.3f}"
