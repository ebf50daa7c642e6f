"""Annotation files without what a check found wrong in them, as far as that can be mended without asking."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detkit.data.annotations import Annotations
from detkit.data.check.boxes import repeated_boxes, repeated_files
from detkit.data.stored import as_stored
from detkit.errors import UserError


def mended(annotations: Annotations) -> Annotations:
    """Return a split with each file listed once, and each box written once.

    What cannot be used has been dropped, and what reaches out of its image clipped, when the split was packed.
    """
    first = np.arange(len(annotations))
    for row, earlier in repeated_files(annotations.paths).items():
        first[row] = earlier
    joined = annotations.regroup(np.unique(first), first[annotations.owners])
    owners = joined.owners
    owners[repeated_boxes(joined)] = -1
    return joined.regroup(np.arange(len(joined)), owners)


def write_annotations(annotations: Annotations, file: Path, names: Sequence[str] | None = None) -> None:
    """Write a split as a new annotation file in COCO's format; no image is copied.

    Args:
        annotations: the split.
        file: must not exist; its folder is made.
        names: what the images are called in it. None: their paths relative to the data set that the file is of, in the folder
            above its own (``data.root``).

    Raises:
        UserError: there is such a file, or it cannot be written.
    """
    if file.exists():
        raise UserError(f"{file} exists, and is not overwritten; name another place")
    content: dict[str, Any] = as_stored(annotations).to_coco()
    for number, image in enumerate(content["images"]):
        image["file_name"] = _relative(image["file_name"], file.parent.parent) if names is None else names[number]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}")
        aside.write_text(json.dumps(content), encoding="utf-8")
        aside.replace(file)
    except OSError as error:
        raise UserError(f"{file} cannot be written ({error.strerror or error}); name another place") from None


def annotation_file(root: Path, split: str) -> Path:
    """Return where the annotations of a split are in a data set at ``root``, so that its reader finds them."""
    return root / "annotations" / f"instances_{split}.json"


def refuse_to_overwrite(root: Path, splits: Iterable[str]) -> None:
    """Raise a `UserError` where a data set at ``root`` has annotations of one of these splits."""
    for split in splits:
        if (file := annotation_file(root, split)).exists():
            raise UserError(f"{file} exists, and is not overwritten; name another folder")


def _relative(path: str, root: Path) -> str:
    """Return a path as it is written in a data set at ``root``, with slashes on every system."""
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # on another drive
        return Path(path).resolve().as_posix()
