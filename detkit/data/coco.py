"""Reading an annotation file in COCO's format: what it must hold to be used at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detkit.errors import UserError


class CocoFile(NamedTuple):
    """An annotation file as it was read: nothing mended yet."""

    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[int, str]
    """Name by id, in order of ids."""


def read_coco(path: Path) -> CocoFile:
    """Read an annotation file.

    Raises:
        UserError: it is missing, no JSON, cut short, or lacks what COCO's format has.
    """
    if not path.is_file():
        raise UserError(f"there is no annotation file {path}; check the path")
    try:
        content = json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no JSON, or was cut short ({error}); copy or export it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not in COCO's format: it holds a {type(content).__name__}, not an object with 'images'")
    for key in ("images", "annotations", "categories"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path} is not in COCO's format: it has no list '{key}' of objects")
    if not content["images"]:
        raise UserError(f"{path} lists no images; export it again, or name another file")
    for image in content["images"]:
        if not isinstance(image.get("file_name"), str) or not isinstance(image.get("id"), int):
            raise UserError(f"{path}: the image entry {image!r} needs a 'file_name' (text) and an 'id' (whole number)")
    _distinct([image["id"] for image in content["images"]], f"{path}: two images have the id")
    return CocoFile(path, content["images"], content["annotations"], _categories(path, content))


def _categories(path: Path, content: dict[str, Any]) -> dict[int, str]:
    found = content["categories"]
    for entry in found:
        if not isinstance(entry.get("name"), str) or not isinstance(entry.get("id"), int):
            raise UserError(f"{path}: the category entry {entry!r} needs a 'name' (text) and an 'id' (whole number)")
    used = {annotation.get("category_id") for annotation in content["annotations"]}
    # Roboflow adds the project itself as category 0, the parent of the others
    parents = {entry.get("supercategory") for entry in found}
    real = [e for e in found if e["id"] in used or e["name"] not in parents or e.get("supercategory") not in ("none", None, "")]
    _distinct([entry["id"] for entry in real], f"{path}: two categories have the id")
    _distinct([entry["name"] for entry in real], f"{path}: two categories have the name")
    if not real:
        raise UserError(f"{path} lists no categories; a detector needs at least one class")
    return {entry["id"]: entry["name"] for entry in sorted(real, key=lambda entry: entry["id"])}


def _distinct(values: Sequence[Any], complaint: str) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise UserError(f"{complaint} {value!r}; rename one")
        seen.add(value)
