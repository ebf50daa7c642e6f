"""COCO ground truth made complete for scoring: what pycocotools needs and annotation files often lack."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from detkit.errors import UserError


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
