"""COCO ground truth made complete for scoring: what pycocotools needs and annotation files often lack."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from detkit.errors import UserError


class Truth(NamedTuple):
    """The ground truth of an evaluation as arrays.

    Attributes:
        image_ids: (A,) int64.
        labels: (A,) int64, from 0 to K - 1 in order of category id.
        boxes: (A, 4) float64 xywh in original pixels.
        areas: (A,) float64, as annotated.
        crowds: (A,) bool.
        scored: (A,) bool: of an image that was scored.
    """

    image_ids: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowds: np.ndarray
    scored: np.ndarray

    @classmethod
    def of(cls, ground_truth: dict[str, Any], image_ids: Sequence[int]) -> Truth:
        """Return the annotations of a complete COCO dict; ``image_ids`` are the scored images."""
        items = ground_truth["annotations"]
        owners = np.array([item["image_id"] for item in items], np.int64)
        return cls(
            owners,
            np.searchsorted(sorted_ids(ground_truth), np.array([item["category_id"] for item in items], np.int64)),
            np.array([item["bbox"] for item in items], np.float64).reshape(-1, 4),
            np.array([item["area"] for item in items], np.float64),
            np.array([item["iscrowd"] for item in items], bool),
            np.isin(owners, np.array(image_ids, np.int64)),
        )

    @property
    def wanted(self) -> np.ndarray:
        """(A,) bool: to be found, being no crowd and of an image that was scored."""
        return self.scored & ~self.crowds


def sorted_ids(ground_truth: dict[str, Any]) -> np.ndarray:
    """Return the category ids (K,) in their order, which is that of labels."""
    return np.array(sorted(item["id"] for item in ground_truth["categories"]), np.int64)


def complete(ground_truth: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with only the entries that scoring reads, each of them present.

    A missing ``area`` is the box's, a missing ``iscrowd`` is 0, categories of one name become the first of them. Annotations
    get new ids from 1: pycocotools takes a match with annotation 0 for no match. As for pycocotools, annotations of no listed
    category are not to be found, nor are those without four finite numbers as ``bbox``; the reader of the data reports them.

    Raises:
        UserError: there are no images or no categories.
    """
    for key in ("images", "categories"):
        if not ground_truth.get(key):
            raise UserError(f"the ground truth has no {key}; COCO's format needs 'images', 'annotations' and 'categories'")
    first_of: dict[str, int] = {}
    merged = {item["id"]: first_of.setdefault(item["name"], item["id"]) for item in ground_truth["categories"]}
    annotations: list[dict[str, Any]] = []
    for item in ground_truth.get("annotations", ()):
        if item["category_id"] not in merged or not _is_box(item.get("bbox")):
            continue
        x, y, width, height = (float(value) for value in item["bbox"])
        area = item.get("area")
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": item["image_id"],
                "category_id": merged[item["category_id"]],
                "bbox": [x, y, width, height],
                "area": width * height if area is None else float(area),
                "iscrowd": int(item.get("iscrowd") or 0),
            }
        )
    return {
        "images": [{"id": item["id"]} for item in ground_truth["images"]],
        "categories": [{"id": number, "name": name} for name, number in first_of.items()],
        "annotations": annotations,
    }


def category_ids(ground_truth: dict[str, Any], names: Sequence[str]) -> list[int | None]:
    """Return for each label the id of the category of that name; None where the ground truth has no such class.

    Raises:
        UserError: not one name is known.
    """
    by_name = {item["name"]: item["id"] for item in ground_truth["categories"]}
    ids = [by_name.get(name) for name in names]
    if all(number is None for number in ids):
        raise UserError(
            f"the detector knows {_listing(names)}, the ground truth {_listing(list(by_name))}: no class in common; "
            "evaluate on data with the classes that it was trained on"
        )
    return ids


def count_boxes(ground_truth: dict[str, Any], image_ids: Collection[int]) -> Counter[int]:
    """Return the number of boxes to find of each category in these images; crowds are not to be found."""
    images = set(image_ids)
    return Counter(
        item["category_id"] for item in ground_truth["annotations"] if item["image_id"] in images and not item["iscrowd"]
    )


def _is_box(value: Any) -> bool:
    """Say whether an annotation's ``bbox`` is four finite numbers."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 4
        and all(isinstance(number, int | float) and math.isfinite(number) for number in value)
    )


def _listing(names: Sequence[str], limit: int = 5) -> str:
    """Return the first few names as words."""
    shown = ", ".join(names[:limit])
    return f"{shown}, ... ({len(names)} classes)" if len(names) > limit else shown or "no class"
