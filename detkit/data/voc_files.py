"""Where Pascal VOC's files are: the XML files of each split, and their images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detkit.data.files import SUFFIXES, images_in, read_list
from detkit.data.raw import Split, listing
from detkit.data.spec import Data
from detkit.errors import UserError

OWN: dict[Split, tuple[str, ...]] = {
    "train": ("[Aa]nnotations/train*", "train*"),
    "val": ("[Aa]nnotations/val*", "val*"),
}
"""Folders that hold the files of one split alone."""
SHARED = ("[Aa]nnotations", "")
"""Folders that hold the files of all splits, which lists tell apart."""
LISTS: dict[Split, tuple[str, ...]] = {
    "train": ("ImageSets/Main/train.txt", "train.txt"),
    "val": ("ImageSets/Main/val.txt", "val.txt"),
}


class VocPlace(NamedTuple):
    """Where a split is.

    Attributes:
        where: the list or folder that says which files are in it.
        files: its XML files; those of a list need not exist.
        xml: all XML files of their folder.
        images: the folder of its images.
        listed: a list tells this split from others in the same folder.
    """

    where: Path
    files: list[Path]
    xml: list[Path]
    images: Path
    listed: bool


def first_xml(root: Path) -> Path | None:
    """Return an XML file of a data set, from where they usually are."""
    folders = _folders(root, [*OWN["train"], *OWN["val"], *SHARED])
    return next((path for folder in folders for path in _xml_in(folder)), None)


def find_place(root: Path, data: Data, split: Split) -> VocPlace:
    """Find a split.

    Raises:
        UserError: it is not there, or nothing tells it from the other; says what to write.
    """
    folder, own = _xml_folder(root, data, split)
    xml = _xml_in(folder)
    named = data.image_list(split)
    candidates = [named] if named is not None else () if own else LISTS[split]
    lists = [root / name for name in candidates if (root / name).is_file() or name == named]
    if not lists and not own:
        raise UserError(
            f"{folder} holds {len(xml)} XML files, but nothing says which of them are for {split}: write {LISTS[split][0]} "
            f"(the name of an image a line), or such a file elsewhere and data.{split}_list=FILE (relative to the root)"
        )
    files = [_listed(line, folder) for line in read_list(lists[0])] if lists else xml
    if not any(file.is_file() for file in files):
        raise UserError(f"{lists[0]} names no image that has an XML file in {folder}; check the names in it")
    return VocPlace(lists[0] if lists else folder, files, xml, _image_folder(root, data, split, files), bool(lists))


def _xml_folder(root: Path, data: Data, split: Split) -> tuple[Path, bool]:
    """Return the folder of a split's XML files, and whether it is the split's own."""
    named = data.annotations(split)
    if named is not None:
        if not _xml_in(root / named):
            raise UserError(f"data.{split}_annotations={named}: there are no XML files in {root / named}")
        return root / named, True
    own = [path for path in _folders(root, OWN[split]) if _xml_in(path)]
    if len(own) > 1:
        choice = listing([str(path.relative_to(root)) for path in own])
        raise UserError(f"{root} has several {split} folders: {choice}; write data.{split}_annotations=FOLDER")
    found = own or [path for path in _folders(root, SHARED) if _xml_in(path)]
    if not found:
        raise UserError(f"{root} has no XML files for {split}; write data.{split}_annotations=FOLDER (relative to the root)")
    return found[0], bool(own)


def _image_folder(root: Path, data: Data, split: Split, files: Sequence[Path]) -> Path:
    """Return the folder that holds the images of some XML files."""
    named = data.images(split)
    if named is not None:
        if not (root / named).is_dir():
            raise UserError(f"data.{split}_images={named}: there is no folder {root / named}")
        return root / named
    beside = files[0].parent
    candidates = [beside, *(root / name / beside.name for name in ("JPEGImages", "images")), root / "JPEGImages"]
    candidates += [root / "images", beside.parent / "JPEGImages", beside.parent / "images", root]
    stems = {file.stem for file in files}
    for folder in candidates:
        if any(path.stem in stems for path in images_in(folder)):
            return folder
    tried = listing([str(folder) for folder in dict.fromkeys(candidates)])
    raise UserError(f"the image of {files[0]} is in none of {tried}; write data.{split}_images=FOLDER (relative to the root)")


def _listed(line: str, folder: Path) -> Path:
    """Return the XML file of a line in a list: the name of an image, perhaps with folder and suffix."""
    exact = folder / f"{line}.xml"
    path = Path(line)
    return exact if exact.is_file() or path.suffix.lower() not in SUFFIXES | {".xml"} else folder / f"{path.stem}.xml"


def _folders(root: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the folders of these patterns, in order; the empty pattern is the root."""
    return [path for pattern in patterns for path in (sorted(root.glob(pattern)) if pattern else [root])]


def _xml_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.xml"))
