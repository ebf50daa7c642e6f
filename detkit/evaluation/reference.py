"""COCO's matching by pycocotools: the reference that every faster evaluator is compared with."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.evaluation.curves import Curves
from detkit.evaluation.packed import ScoredBoxes


def pycocotools_curves(ground_truth: dict[str, Any], detections: ScoredBoxes, image_ids: Sequence[int]) -> Curves:
    """Return the curves of ``detections`` over the images ``image_ids``, without a word on the terminal.

    Args:
        ground_truth: a COCO dict with ``images``, ``categories`` and complete ``annotations`` (id from 1, area, iscrowd).
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
    return Curves(evaluation.eval["precision"], evaluation.eval["recall"])


def _index(dataset: dict[str, Any]) -> COCO:
    """Return pycocotools' index of a data set that is already in memory."""
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco
