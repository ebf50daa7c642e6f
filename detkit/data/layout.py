"""Finding a data set's files below its root, and opening them as training and validation splits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detkit.data.annotations import Annotations
from detkit.data.coco import CocoFile, read_coco
from detkit.data.packing import pack
from detkit.data.presets import DEFAULT, PRESETS
from detkit.data.shapes import drawn_folder
from detkit.data.spec import Data
from detkit.errors import UserError

LAYOUTS = (
    "annotations/instances_train*.json and annotations/instances_val*.json with the images in train*/ and val*/ or in images/, "
    "or train/_annotations.coco.json and valid/_annotations.coco.json with the images beside them"
)
PATTERNS = {
    "train": ("annotations/instances_train*.json", "train/_annotations.coco.json"),
    "val": ("annotations/instances_val*.json", "valid/_annotations.coco.json", "val/_annotations.coco.json"),
}


class Splits(NamedTuple):
    """A data set, ready to load."""

    train: Annotations
    val: Annotations
    names: tuple[str, ...]
    """Class names by label."""
    notes: list[str]
    """What was mended, a line for each kind and file."""


def open_data(data: Data) -> Splits:
    """Find, read and check both splits of a data set.

    Classes are known by name: their labels follow the ids of the training file, and the validation file may number and order
    its categories otherwise.

    Raises:
        UserError: there is no data set at ``data.root``, a file is not what it should be, images are missing, or a category of
            the validation file is unknown to the training file.
    """
    root = _root(data)
    train_path = _annotation_file(root, "train", data.train_annotations)
    val_path = _annotation_file(root, "val", data.val_annotations)
    train_file = read_coco(train_path)
    val_file = train_file if val_path == train_path else read_coco(val_path)
    names = tuple(train_file.categories.values())
    _check_classes(val_file, names, str(train_path))
    train, train_notes = _split(train_file, root, "train", data.train_images, names, data.limit)
    val, val_notes = _split(val_file, root, "val", data.val_images, names, data.limit)
    if train.crowds.all():
        raise UserError(f"{train_path} has no usable box in its {len(train)} images, so there is nothing to learn")
    return Splits(train, val, names, list(dict.fromkeys(train_notes + val_notes)))


def open_val(data: Data, names: Sequence[str]) -> tuple[Annotations, list[str]]:
    """Open the validation split alone, for a detector that knows the classes ``names``; return it and what was mended.

    Raises:
        UserError: as for `open_data`.
    """
    root = _root(data)
    file = read_coco(_annotation_file(root, "val", data.val_annotations))
    _check_classes(file, names, "the detector")
    return _split(file, root, "val", data.val_images, tuple(names), data.limit)


def _check_classes(file: CocoFile, names: Sequence[str], where: str) -> None:
    unknown = [name for name in file.categories.values() if name not in names]
    if unknown:
        raise UserError(
            f"{file.path} has the category '{unknown[0]}', which {where} lacks (it has {_listing(names)}); "
            "use the same category names in both"
        )


def _root(data: Data) -> Path:
    drawn = data.root or DEFAULT
    if drawn in PRESETS and not Path(drawn).is_dir():
        return drawn_folder(drawn)
    root = Path(drawn).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UserError(f"data.root={data.root} {what}; name the folder of a data set")
    if not any(root.iterdir()):
        raise UserError(f"data.root={data.root} is empty; name a folder that holds {LAYOUTS}")
    return root


def _annotation_file(root: Path, split: str, named: str | None) -> Path:
    if named is not None:
        path = root / named
        if not path.is_file():
            raise UserError(f"data.{split}_annotations={named}: there is no file {path}")
        return path
    found = [path for pattern in PATTERNS[split] for path in sorted(root.glob(pattern))]
    if len(found) == 1:
        return found[0]
    if found:
        choice = _listing([str(path.relative_to(root)) for path in found])
        raise UserError(f"{root} has several {split} files: {choice}; choose one with data.{split}_annotations=FILE")
    if split == "val":
        raise UserError(
            f"{root} has training annotations but none for validation; write data.val_annotations=FILE (relative to the root; "
            "it may name the training file)"
        )
    raise UserError(f"{root} has no layout that is known: {LAYOUTS}. Or name the files: data.train_annotations=FILE ...")


def _split(
    file: CocoFile, root: Path, split: str, folder: str | None, names: tuple[str, ...], limit: int | None
) -> tuple[Annotations, list[str]]:
    files = [image["file_name"] for image in file.images[:limit]]
    place = _image_folder(file.path, root, split, folder, files)
    _check_images(file.path, place, files)
    return pack(file, place, names, limit)


def _image_folder(annotations: Path, root: Path, split: str, named: str | None, files: Sequence[str]) -> Path:
    """Return the folder that the file names of an annotation file are relative to."""
    if named is not None:
        folder = root / named
        if not folder.is_dir():
            raise UserError(f"data.{split}_images={named}: there is no folder {folder}")
        return folder
    stem = annotations.stem.removeprefix("instances_")
    candidates = [root / stem, root / "images" / stem, root / "images", annotations.parent, root / split, root]
    for folder in candidates:
        if any((folder / name).is_file() for name in files[:100]):
            return folder
    tried = _listing([str(folder) for folder in dict.fromkeys(candidates)])
    raise UserError(
        f"{annotations} lists {files[0]}, which is in none of {tried}; write data.{split}_images=FOLDER (relative to the root)"
    )


def _check_images(annotations: Path, folder: Path, files: Sequence[str]) -> None:
    """Raise for missing image files; each folder is listed once, as asking for each file is slow on network disks."""
    present: dict[str, set[str]] = {}
    missing = []
    for name in files:
        parent, base = os.path.split(folder / name)
        if parent not in present:
            present[parent] = set(os.listdir(parent)) if os.path.isdir(parent) else set()  # noqa: PTH112, PTH208
        if base not in present[parent]:
            missing.append(name)
    if missing:
        example = folder / missing[0]
        raise UserError(
            f"{len(missing)} of the {len(files)} images that {annotations} lists are missing, for example {example}; "
            "restore them, or remove them from the file"
        )


def _listing(words: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more
