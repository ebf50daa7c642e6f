"""COCO's matching by pycocotools: the reference that every faster evaluator is compared with."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.evaluation.curves import Curves
from detkit.evaluation.matches import Matches
from detkit.evaluation.packed import ScoredBoxes


def match_by_pycocotools(
    ground_truth: dict[str, Any], detections: ScoredBoxes, image_ids: Sequence[int]
) -> tuple[Curves, Matches]:
    """Return curves and matches of ``detections`` over the images ``image_ids``, without a word on the terminal.

    Args:
        ground_truth: a COCO dict with ``images``, ``categories`` and complete ``annotations`` (area, iscrowd, and as id their
            position from 1).
        detections: what was found; boxes of other images or categories are not looked at.
        image_ids: the images that count, whether or not anything was found in them.
    """
    found = detections.to_dicts()
    for number, item in enumerate(found, start=1):
        item.update(id=number, area=item["bbox"][2] * item["bbox"][3], iscrowd=0)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_index(ground_truth), _index(ground_truth | {"annotations": found}), "bbox")
        evaluation.params.imgIds = list(image_ids)
        evaluation.evaluate()
        evaluation.accumulate()
    return Curves(evaluation.eval["precision"], evaluation.eval["recall"]), _matches(evaluation, len(found))


def _matches(evaluation: COCOeval, count: int) -> Matches:
    """Return what pycocotools noted of ``count`` detections at its first IoU threshold, for boxes of all areas."""
    images, areas = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    starts = range(0, len(evaluation.evalImgs), max(1, images * areas))
    noted = [entry for start in starts for entry in evaluation.evalImgs[start : start + images] if entry is not None]
    matches = Matches.none(count)
    if noted:
        rows = np.fromiter(chain.from_iterable(entry["dtIds"] for entry in noted), np.int64) - 1
        matches.found[rows] = np.concatenate([entry["dtMatches"][0] for entry in noted]).astype(np.int64) - 1
        matches.counted[rows] = ~np.concatenate([entry["dtIgnore"][0] for entry in noted]).astype(bool)
    return matches


def _index(dataset: dict[str, Any]) -> COCO:
    """Return pycocotools' index of a data set that is already in memory."""
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
