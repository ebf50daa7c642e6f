"""What annotations alone can tell: cheap enough for every run."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from detkit.data.annotations import Annotations
from detkit.data.check.looks import Looks, recorded
from detkit.data.check.similar import identical, near
from detkit.data.layout import Splits

SAME = 0.01
"""Pixels; boxes of one class in one image that differ by less are one box, written twice."""


def repeated_boxes(annotations: Annotations) -> np.ndarray:
    """Return the boxes, by number, that are there already: in the same image, of the same class, in the same place."""
    places = np.rint(annotations.boxes / SAME).astype(np.int64)
    rows = np.column_stack([annotations.owners, annotations.labels, annotations.crowds, places])
    _, first = np.unique(rows, axis=0, return_index=True)
    return np.setdiff1d(np.arange(len(rows)), first)


def repeated_files(paths: Sequence[str]) -> dict[int, int]:
    """Return the images, by number, whose file is listed already, with the number of the first that lists it."""
    first: dict[str, int] = {}
    return {
        number: earlier
        for number, path in enumerate(paths)
        if (earlier := first.setdefault(os.path.abspath(path), number)) != number  # noqa: PTH100 (a hundred thousand paths)
    }


def shared_files(train: Sequence[str], val: Sequence[str]) -> dict[int, int]:
    """Return the validation images, by number, whose file is also a training image's, with the number of that."""
    known = {os.path.abspath(path): number for number, path in enumerate(train)}  # noqa: PTH100
    found = ((number, known.get(os.path.abspath(path))) for number, path in enumerate(val))  # noqa: PTH100
    return {number: other for number, other in found if other is not None}


def notes_before_training(splits: Splits) -> list[str]:
    """Return what misleads a run, a line each: by the annotations, and by the pictures where a check has looked at them.

    Nothing is mended for it: the boxes and images stay what the files say.
    """
    parts = {"train": splits.train, "val": splits.val}
    looks = {name: recorded(part.paths) for name, part in parts.items()}
    notes = []
    for name, part in parts.items():
        images, seen = np.arange(len(part)), looks[name]
        boxes, files = repeated_boxes(part), repeated_files(part.paths)
        none = np.zeros(0, np.int64)
        broken, shown = (none, none) if seen is None else (np.flatnonzero(~seen.decoded), np.flatnonzero(seen.damage != ""))
        notes += _note(name, "boxes that are written twice, of which one is always missed", boxes, part.owners, part)
        notes += _note(name, "images that are listed twice", list(files), images, part)
        notes += _note(name, "images that are damaged, and left out", broken, images, part)
        notes += _note(name, "images that are damaged, and shown as far as they can be", shown, images, part)
    shared = set(shared_files(splits.train.paths, splits.val.paths)) | _twins(looks["train"], looks["val"])
    what = "images that are training images too, so that AP says how well they are remembered"
    return notes + _note("val", what, sorted(shared), np.arange(len(splits.val)), splits.val)


def _twins(train: Looks | None, val: Looks | None) -> set[int]:
    """Return the validation images that show what a training image shows, as far as a check has looked at both splits."""
    if train is None or val is None:
        return set()
    same = (identical(val.digests, train.digests) >= 0) | (near(val, train) >= 0)
    return set(np.flatnonzero(same & val.decoded).tolist())


def _note(split: str, what: str, numbers: Sequence[int] | np.ndarray, rows: np.ndarray, part: Annotations) -> list[str]:
    """Return a line that counts things, by number, and names the image of the first; none for none."""
    if not len(numbers):
        return []
    first = part.paths[int(rows[numbers[0]])]
    return [f"{split}: {what}: {len(numbers)} ({first}, for example); tools/check_data.py shows them"]
