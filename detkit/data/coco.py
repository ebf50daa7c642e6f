"""COCO's format: where its files are, and what they must hold to be used at all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from detkit.data.files import images_in
from detkit.data.raw import SPLITS, Complain, RawSplit, Split, listing, refuse, without_missing
from detkit.data.spec import Data
from detkit.errors import UserError

PATTERNS: dict[Split, tuple[str, ...]] = {
    "train": ("annotations/instances_train*.json", "train/_annotations.coco.json"),
    "val": ("annotations/instances_val*.json", "valid/_annotations.coco.json", "val/_annotations.coco.json"),
}

IMAGE_FIELDS = {"id", "file_name", "width", "height"}
BOX_FIELDS = {"id", "image_id", "category_id", "bbox", "area", "iscrowd"}
LARGEST_ID = 2**53
"""Beyond it, numbers that tools read as floating-point ones are no longer told apart."""


class CocoFile(NamedTuple):
    """An annotation file as it was read: nothing mended yet."""

    path: Path
    images: list[dict[str, Any]]
    annotations: list[dict[str, Any]]
    categories: dict[int, str]
    """Name by id, in order of ids."""


class CocoReader:
    """Reads COCO's format: one JSON file a split, and folders of images."""

    layouts: ClassVar[str] = (
        "annotations/instances_train*.json and annotations/instances_val*.json with the images in train*/ and val*/ or in "
        "images/, or train/_annotations.coco.json and valid/_annotations.coco.json with the images beside them"
    )

    def __init__(self, root: Path, data: Data, complain: Complain = refuse) -> None:
        self._root, self._data, self._complain = root, data, complain
        self._files: dict[Path, CocoFile] = {}

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """Return the first annotation file in a folder."""
        found = (path for patterns in PATTERNS.values() for pattern in patterns for path in sorted(root.glob(pattern)))
        return next((str(path.relative_to(root)) for path in found), None)

    def read(self, split: Split) -> RawSplit:
        """Read a split."""
        file, folder = self._open(split)
        images = file.images[: self._data.limit]
        paths = [str(folder / image["file_name"]) for image in images]
        present = without_missing(file.path, paths, self._complain)
        images, paths = [images[number] for number in present], [paths[number] for number in present]
        left_out = {image["id"] for image in file.images} - {image["id"] for image in images}
        annotations = [entry for entry in file.annotations if entry.get("image_id") not in left_out]
        kinds = {"images": (images, IMAGE_FIELDS), "annotations": (annotations, BOX_FIELDS)}
        lost = {kind: sorted(_filled(entries) - kept) for kind, (entries, kept) in kinds.items()}
        beyond = [f"{file.path}: fields of {kind} left out: {listing(names)}" for kind, names in lost.items() if names]
        return RawSplit(file.path, images, paths, annotations, file.categories, beyond=beyond)

    def strays(self, split: Split) -> list[str]:
        """Return image files beside a split's that neither its file nor another annotation file lists."""
        file, folder = self._open(split)
        strays = {path for parent in {path.parent for path in _paths(file, folder)} for path in images_in(parent)}
        for each in SPLITS:
            strays.difference_update(_paths(*self._open(each)))
        siblings = set(file.path.parent.glob("*.json")) - set(self._files)
        for sibling in siblings if strays else ():  # a folder of images may serve further splits
            strays.difference_update(folder / name for name in _file_names(sibling))
        return sorted(map(str, strays))

    def _open(self, split: Split) -> tuple[CocoFile, Path]:
        """Return a split's annotation file, and the folder that its file names are relative to."""
        path = self._annotation_file(split)
        if path not in self._files:
            self._files[path] = read_coco(path, self._complain)
        file = self._files[path]
        return file, self._image_folder(path, split, [image["file_name"] for image in file.images[:100]])

    def _annotation_file(self, split: Split) -> Path:
        root, named = self._root, self._data.annotations(split)
        if named is not None:
            path = root / named
            if not path.is_file():
                raise UserError(f"data.{split}_annotations={named}: there is no file {path}")
            return path
        found = [path for pattern in PATTERNS[split] for path in sorted(root.glob(pattern))]
        if len(found) == 1:
            return found[0]
        if found:
            choice = listing([str(path.relative_to(root)) for path in found])
            raise UserError(f"{root} has several {split} files: {choice}; choose one with data.{split}_annotations=FILE")
        other, may = ("training", "; it may name the training file") if split == "val" else ("validation", "")
        wanted = "validation" if split == "val" else "training"
        raise UserError(
            f"{root} has {other} annotations but none for {wanted}; write data.{split}_annotations=FILE "
            f"(relative to the root{may})"
        )

    def _image_folder(self, annotations: Path, split: Split, names: Sequence[str]) -> Path:
        root, named = self._root, self._data.images(split)
        if named is not None:
            folder = root / named
            if not folder.is_dir():
                raise UserError(f"data.{split}_images={named}: there is no folder {folder}")
            return folder
        stem = annotations.stem.removeprefix("instances_")
        candidates = [root / stem, root / "images" / stem, root / "images", annotations.parent, root / split, root]
        for folder in candidates:
            if any((folder / name).is_file() for name in names):
                return folder
        tried = listing([str(folder) for folder in dict.fromkeys(candidates)])
        raise UserError(
            f"{annotations} lists {names[0]}, which is in none of {tried}; write data.{split}_images=FOLDER "
            "(relative to the root)"
        )


def read_coco(path: Path, complain: Complain = refuse) -> CocoFile:
    """Read an annotation file; of several images with one id, only the first is kept if ``complain`` returns.

    Raises:
        UserError: it is missing, no JSON, cut short, or lacks what COCO's format has.
    """
    if not path.is_file():
        raise UserError(f"there is no annotation file {path}; check the path")
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check who may read it") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON, or was cut short ({error}); copy or export it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is not in COCO's format: it holds a {type(content).__name__}, not an object with 'images'")
    for key in ("images", "annotations", "categories"):
        entries = content.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path} is not in COCO's format: it has no list '{key}' of objects")
    if not content["images"]:
        raise UserError(f"{path} lists no images; export it again, or name another file")
    _number_ids(content)
    for image in content["images"]:
        if not isinstance(image.get("file_name"), str) or not isinstance(image.get("id"), int):
            raise UserError(
                f"{path}: the image entry {image!r} needs a 'file_name' (text) and an 'id' (whole number, at most 2**53)"
            )
    return CocoFile(
        path, _of_distinct_ids(path, content["images"], complain), content["annotations"], _categories(path, content)
    )


def _of_distinct_ids(path: Path, images: list[dict[str, Any]], complain: Complain) -> list[dict[str, Any]]:
    """Return the image entries, of several with one id the first, and complain of the others."""
    counts = Counter(image["id"] for image in images)
    repeated = [number for number, count in counts.items() if count > 1]
    if repeated:
        sentence = f"{path}: two images have the id {repeated[0]!r}; rename one"
        complain("image ids that several images have", sentence, [f"{path}, image id {number}" for number in repeated])
    first: dict[int, dict[str, Any]] = {}
    for image in images:
        first.setdefault(image["id"], image)
    return list(first.values())


def _number_ids(content: dict[str, Any]) -> None:
    """Make ids whole numbers where they are such numbers as texts or fractions; others become texts, which match no entry."""
    for key, fields in (("images", ("id",)), ("annotations", ("image_id", "category_id")), ("categories", ("id",))):
        for entry in content[key]:
            for name in fields:
                value = entry.get(name, 0)
                if type(value) is not int or abs(value) > LARGEST_ID:
                    entry[name] = _whole(value)


def _whole(value: Any) -> int | str:
    if isinstance(value, float) and value.is_integer() and abs(value) <= LARGEST_ID:
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(LARGEST_ID)) - 1:
        return int(value)
    return repr(value)


def _categories(path: Path, content: dict[str, Any]) -> dict[int, str]:
    found = content["categories"]
    for entry in found:
        if not isinstance(entry.get("name"), str) or not isinstance(entry.get("id"), int):
            raise UserError(
                f"{path}: the category entry {entry!r} needs a 'name' (text) and an 'id' (whole number, at most 2**53)"
            )
    used = {annotation.get("category_id") for annotation in content["annotations"]}
    # Roboflow adds the project itself as category 0, the parent of the others
    parents = [parent for entry in found if isinstance(parent := entry.get("supercategory"), str)]
    real = [e for e in found if e["id"] in used or e["name"] not in parents or e.get("supercategory") not in ("none", None, "")]
    _distinct([entry["id"] for entry in real], f"{path}: two categories have the id")
    _distinct([entry["name"] for entry in real], f"{path}: two categories have the name")
    if not real:
        raise UserError(f"{path} lists no categories; a detector needs at least one class")
    return {entry["id"]: entry["name"] for entry in sorted(real, key=lambda entry: entry["id"])}


def _filled(entries: Sequence[dict[str, Any]]) -> set[str]:
    """Return the fields that say something in any entry."""
    return {key for entry in entries for key, value in entry.items() if value}


def _distinct(values: Sequence[Any], complaint: str) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise UserError(f"{complaint} {value!r}; rename one")
        seen.add(value)


def _paths(file: CocoFile, folder: Path) -> list[Path]:
    return [folder / image["file_name"] for image in file.images]


def _file_names(path: Path) -> list[str]:
    """Return the images that a file lists, if it is an annotation file at all."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    images = content.get("images") if isinstance(content, dict) else None
    entries = images if isinstance(images, list) else []
    return [entry["file_name"] for entry in entries if isinstance(entry, dict) and isinstance(entry.get("file_name"), str)]
