"""Reading an annotation file in COCO's format, and mending what can be mended."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from detkit.data.annotations import Annotations, Texts
from detkit.errors import UserError

TOLERANCE = 0.01
"""Pixels; COCO's own coordinates are rounded to hundredths, so boxes reach out of images by as much."""


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


def pack(file: CocoFile, folder: Path, names: tuple[str, ...], limit: int | None = None) -> tuple[Annotations, list[str]]:
    """Return the boxes of ``file`` as arrays, mended, and a line for each kind of mending.

    Args:
        file: what `read_coco` returned.
        folder: where its images are.
        names: the class names by label; every category of the file is among them.
        limit: keep only the first so many images.
    """
    images = file.images[:limit]
    paths = [str(folder / image["file_name"]) for image in images]
    sizes = np.array([_size(image, path) for image, path in zip(images, paths, strict=True)], np.int64)
    label_of = {number: names.index(name) for number, name in file.categories.items()}
    boxes = _Boxes(file, images, sizes, label_of, limited=len(images) < len(file.images))
    free = max(file.categories, default=0) + 1
    id_of = {name: number for number, name in file.categories.items()}
    packed = Annotations(
        names=names,
        category_ids=np.array([id_of.get(name, free + label) for label, name in enumerate(names)], np.int64),
        paths=Texts(paths),
        image_ids=np.array([image["id"] for image in images], np.int64),
        sizes=sizes,
        **boxes.arrays(),
    )
    return packed, boxes.notes


def _size(image: dict[str, Any], path: str) -> tuple[int, int]:
    """Return (height, width) as annotated, else as the file says."""
    height, width = image.get("height"), image.get("width")
    if isinstance(height, int) and isinstance(width, int) and height > 0 and width > 0:
        return height, width
    try:
        with Image.open(path) as header:
            return header.height, header.width
    except OSError as error:
        raise UserError(
            f"the image {path} cannot be read ({error}); replace it, or remove it from its annotation file"
        ) from None


class _Boxes:
    """The boxes of one file on their way from dictionaries to arrays; every filter is counted in ``notes``."""

    def __init__(
        self, file: CocoFile, images: list[dict[str, Any]], sizes: np.ndarray, label_of: dict[int, int], limited: bool
    ) -> None:
        self.notes: list[str] = []
        self._file = file
        row_of = {image["id"]: row for row, image in enumerate(images)}
        elsewhere = {image["id"] for image in file.images} if limited else row_of.keys()
        self._entries = [a for a in file.annotations if a.get("image_id") in row_of or a.get("image_id") not in elsewhere]
        self._count = len(images)
        self._rows = self._column(lambda a: row_of.get(a.get("image_id", -1), -1), np.int64)
        self._labels = self._column(lambda a: label_of.get(a.get("category_id", -1), -1), np.int64)
        self._xywh = self._column(lambda a: _four_numbers(a.get("bbox")), np.float64).reshape(-1, 4)
        self._areas = self._column(lambda a: _number(a.get("area")), np.float64)
        self._drop(self._rows < 0, "name an image that the file does not list and were dropped")
        self._drop(self._labels < 0, "name a category that the file does not list and were dropped")
        self._drop(~np.isfinite(self._xywh).all(1), "are not four finite numbers and were dropped")
        self._drop((self._xywh[:, 2:] <= 0).any(1), "have no width or no height and were dropped")
        self._clip(sizes[self._rows][:, ::-1].astype(np.float64))

    def _column(self, read: Callable[[dict[str, Any]], Any], dtype: type) -> np.ndarray:
        return np.array([read(entry) for entry in self._entries], dtype)

    def _drop(self, bad: Any, what: str) -> None:
        if not bad.any():
            return
        self._note(bad, what)
        keep = ~bad
        self._entries = [self._entries[i] for i in np.flatnonzero(keep)]
        self._rows, self._labels, self._xywh, self._areas = (
            column[keep] for column in (self._rows, self._labels, self._xywh, self._areas)
        )

    def _clip(self, limits: np.ndarray) -> None:
        """Clip boxes to their images of (N, 2) ``limits`` width, height; boxes inside stay as they are, to the bit."""
        low, high = self._xywh[:, :2], self._xywh[:, :2] + self._xywh[:, 2:]
        outside = (low >= limits).any(1) | (high <= 0).any(1)
        beyond = ((low < -TOLERANCE) | (high > limits + TOLERANCE)).any(1) & ~outside
        clipped_low = low.clip(0, limits)
        clipped = np.concatenate([clipped_low, high.clip(0, limits) - clipped_low], axis=1)
        self._xywh[beyond] = clipped[beyond]
        self._areas[beyond] = np.nan
        if beyond.any():
            self._note(beyond, "reach out of their image and were clipped")
        self._drop(outside, "lie outside their image and were dropped")

    def _note(self, which: np.ndarray, what: str) -> None:
        example = self._entries[int(which.argmax())]
        self.notes.append(
            f"{self._file.path}: {int(which.sum())} boxes {what} (annotation {example.get('id')} of image "
            f"{example.get('image_id')}, for example)"
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the per-box columns in order of images."""
        order = np.argsort(self._rows, kind="stable")
        areas = np.where(np.isfinite(self._areas), self._areas, self._xywh[:, 2] * self._xywh[:, 3])
        ids = self._column(lambda a: a["id"] if isinstance(a.get("id"), int) else 0, np.int64)
        return {
            "starts": np.concatenate([[0], np.cumsum(np.bincount(self._rows, minlength=self._count))]).astype(np.int64),
            "boxes": self._xywh[order],
            "labels": self._labels[order],
            "crowds": self._column(lambda a: bool(a.get("iscrowd")), np.bool_)[order],
            "areas": areas[order],
            "annotation_ids": ids[order],
        }


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _four_numbers(value: Any) -> list[float]:
    if isinstance(value, list) and len(value) == 4:
        return [_number(item) for item in value]
    return [float("nan")] * 4
