"""New splits of a data set: all its images, dealt anew, as annotation files that need no copies of the images."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detkit.data.annotations import Annotations, Texts
from detkit.data.check.boxes import repeated_files
from detkit.data.check.mend import annotation_file, refuse_to_overwrite, write_annotations
from detkit.data.dealing import deal, sizes_of
from detkit.data.layout import check_classes, find_reader
from detkit.data.packing import pack
from detkit.data.raw import SPLITS, Split
from detkit.data.spec import Data
from detkit.errors import UserError


class Pool(NamedTuple):
    """All images of a data set.

    Attributes:
        annotations: what is usable of them, mended; under new image ids where those of the files clash.
        images: the entries of the annotation files, in the same order.
        notes: what was mended, a line for each kind.
    """

    annotations: Annotations
    images: list[dict[str, Any]]
    notes: list[str]


def read_all(data: Data, splits: Sequence[Split] = SPLITS) -> Pool:
    """Read the training images of a data set, and those for validation that are others, if it has any.

    Raises:
        UserError: they cannot be read, or their classes differ.
    """
    reader = find_reader(data)
    read, notes = [reader.read("train")], list[str]()
    names = tuple(read[0].categories.values())
    if "val" in splits:
        try:
            read.append(reader.read("val"))
        except UserError as error:
            notes.append(f"only the training images are dealt: {error}")
        else:
            check_classes(read[1], names, str(read[0].where))
    parts, told = zip(*(pack(raw, names) for raw in read), strict=True)
    notes += dict.fromkeys(line for lines in told for line in lines)
    whole = join(parts)
    again = repeated_files(whole.paths)
    kept = np.array([row for row in range(len(whole)) if row not in again])
    entries = [image for raw in read for image in raw.images]
    pool = whole.regroup(kept, whole.owners)
    if len(np.unique(pool.image_ids)) < len(pool):
        pool = replace(pool, image_ids=np.arange(1, len(pool) + 1))
    return Pool(pool, [entries[row] for row in kept.tolist()], notes)


def join(parts: Sequence[Annotations]) -> Annotations:
    """Return several splits of the same classes as one; their ids may clash."""
    first, *_ = parts
    counts = np.concatenate([np.diff(part.starts) for part in parts])
    return replace(
        first,
        paths=Texts([path for part in parts for path in part.paths]),
        image_ids=np.concatenate([part.image_ids for part in parts]),
        starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        sizes=np.concatenate([part.sizes for part in parts]),
        boxes=np.concatenate([part.boxes for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        crowds=np.concatenate([part.crowds for part in parts]),
        areas=np.concatenate([part.areas for part in parts]),
        annotation_ids=np.concatenate([part.annotation_ids for part in parts]),
    )


def groups_by_name(pool: Pool, pattern: str) -> np.ndarray:
    """Return the group (I,) of each image by what a regular expression finds in its path: its first bracket, else all of it.

    Paths are relative to what they have in common, with slashes.

    Raises:
        UserError: it is no regular expression, or finds nothing in an image's path.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"--group {pattern}: no regular expression ({error}); '^[^_]+' is what comes before the first _"
        ) from None
    paths = pool.annotations.paths
    common = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    keys = []
    for path in paths:
        name = Path(path).relative_to(common).as_posix()
        found = expression.search(name)
        if found is None:
            raise UserError(f"--group {pattern} finds nothing in {name}; every image must be of a group")
        keys.append(found[1] if expression.groups else found[0])
    return _numbers(keys)


def groups_by_field(pool: Pool, field: str) -> np.ndarray:
    """Return the group (I,) of each image by a field of its entry in the annotation file.

    Raises:
        UserError: an image has no such field.
    """
    for image in pool.images:
        if image.get(field) is None:
            known = ", ".join(sorted(set(image) - {"id"}))
            raise UserError(f"--group-field {field}: an image has no such field; it has {known}")
    return _numbers([str(image[field]) for image in pool.images])


def split(
    pool: Pool, wanted: dict[str, str | None], *, groups: np.ndarray | None = None, stratify: bool = True, seed: int = 0
) -> dict[str, Annotations]:
    """Return new splits by name.

    Args:
        pool: all images.
        wanted: what each split gets, as `detkit.data.dealing.sizes_of` takes it.
        groups: (I,) which images stay together; None: each is on its own.
        stratify: have each class in proportion.
        seed: of all that is random.

    Raises:
        UserError: the shares don't add up, or a split would be empty.
    """
    annotations = pool.annotations
    groups = np.arange(len(annotations)) if groups is None else groups
    boxes = np.zeros((len(annotations), len(annotations.names) if stratify else 0), np.int64)
    if stratify:
        single = ~annotations.crowds
        np.add.at(boxes, (annotations.owners[single], annotations.labels[single]), 1)
    dealt = deal(groups, boxes, sizes_of(list(wanted.values()), len(annotations)), seed)
    found = {name: np.flatnonzero(dealt == number) for number, name in enumerate(wanted)}
    for name, rows in found.items():
        if not len(rows):
            raise UserError(f"no image is left for {name}: there are {len(annotations)} in {groups.max() + 1} groups")
    return {name: annotations.regroup(rows, annotations.owners) for name, rows in found.items()}


def write_splits(splits: dict[str, Annotations], out: Path) -> None:
    """Write each split as ``annotations/instances_<name>.json`` in a folder, which is then a ``data.root``.

    Raises:
        UserError: there are such files, or they cannot be written.
    """
    refuse_to_overwrite(out, splits)
    for name, part in splits.items():
        write_annotations(part, annotation_file(out, name))


def _numbers(keys: Sequence[str]) -> np.ndarray:
    """Return keys as numbers from 0, in order of their first appearance."""
    number_of: dict[str, int] = {}
    return np.array([number_of.setdefault(key, len(number_of)) for key in keys], np.int64)
