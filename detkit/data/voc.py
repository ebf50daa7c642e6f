"""Pascal VOC's format: an XML file for each image, with the corners of its boxes in pixels.

Corners. The PASCAL challenges count pixels from 1 and include the last one, so that their boxes reach from xmin - 1 to xmax.
The tools that took the format over write the edges themselves, and their users take them as such: BCCD's XML and JSON files
agree so. Files whose ``source/database`` is "The VOC...", as in the challenges, are read the first way, all others the second.

Objects marked as difficult are objects like any other here: trained on and scored. Parts of objects are not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from xml.etree import ElementTree

from tqdm import tqdm

from detkit.data.files import SUFFIXES, class_file, images_in, numbered, read_list
from detkit.data.raw import RawSplit, Split, Tally, check_present, listing
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
CHALLENGE = "The VOC"
"""How ``source/database`` begins in the challenges' own files."""


class VocObject(NamedTuple):
    """An object of an XML file; ``box`` is x, y, width, height in pixels, not finite where it is not given."""

    name: str
    box: list[float]
    difficult: bool


class VocFile(NamedTuple):
    """An XML file: the annotated (height, width), which may be missing, the name of the image file, and the objects."""

    size: tuple[int, int] | None
    image: str
    objects: list[VocObject]


class VocReader:
    """Reads Pascal VOC's format."""

    layouts: ClassVar[str] = (
        "Annotations/*.xml, JPEGImages/, ImageSets/Main/train.txt and ImageSets/Main/val.txt, or train/*.xml and valid/*.xml "
        "with the images beside them"
    )

    def __init__(self, root: Path, data: Data) -> None:
        self._root, self._data = root, data

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """Return the first XML file in a folder."""
        patterns = [*OWN["train"], *OWN["val"], *SHARED]
        found = (path for folder in _folders(root, patterns) for path in _xml_in(folder))
        return next((str(path.relative_to(root)) for path in found), None)

    def read(self, split: Split) -> RawSplit:
        """Read a split; classes are in the order that the user or classes.txt gives, else of the alphabet."""
        where, files = self._files(split)
        bar = tqdm(files, f"reading {split} annotations", unit="file", delay=2, disable=None)
        tally = Tally()
        read = []
        for file in bar:
            if file.is_file():
                read.append((file, read_voc(file)))
            else:
                tally.add("images listed, but without an XML file", str(file))
        names = self._names([item.name for _, content in read for item in content.objects])
        read = read[: self._data.limit]
        paths = self._match(split, read)
        check_present(where, paths)
        number_of = {name: number for number, name in names.items()}
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        places: list[tuple[str, int]] = []
        for number, (file, content) in enumerate(read, 1):
            height, width = content.size or (None, None)
            images.append({"id": number, "height": height, "width": width})
            for place, item in enumerate(content.objects, 1):
                if item.difficult:
                    tally.add("objects marked as difficult, kept", f"{file}, object {place}")
                entry = {"image_id": number, "category_id": number_of.get(item.name, -1), "bbox": item.box}
                annotations.append(entry)
                places.append((str(file), place))
        return RawSplit(where, images, paths, annotations, names, places, tally.notes(where))

    def strays(self, split: Split) -> list[str]:
        """Return the images without an XML file: of a split's own folder or list, and for training those in no list."""
        other: Split = "val" if split == "train" else "train"
        folder, own = self._folder(split)
        (_, files), (_, others) = self._files(split), self._files(other)
        place = self._image_folder(split, files)
        if self._image_folder(other, others) != place:
            others = []
        annotated = {path.stem for path in (*_xml_in(folder), *others) if path.is_file()}
        listed, elsewhere = {file.stem for file in files}, {file.stem for file in others}
        left = [path for path in images_in(place) if path.stem not in annotated]
        whole = split == "train" or (own and self._data.image_list(split) is None)
        return [str(path) for path in left if path.stem in listed or (whole and path.stem not in elsewhere)]

    def _names(self, used: Iterable[str]) -> dict[int, str]:
        if self._data.names:
            return numbered(self._data.names, "data.names")
        file = class_file(self._root)
        return numbered(read_list(file), str(file)) if file is not None else dict(enumerate(sorted(set(used) - {""})))

    def _files(self, split: Split) -> tuple[Path, list[Path]]:
        """Return what says which files are in a split, and the files: all of its own folder, or those that a list names."""
        folder, own = self._folder(split)
        named = self._data.image_list(split)
        candidates = [named] if named is not None else () if own else LISTS[split]
        lists = [self._root / name for name in candidates if (self._root / name).is_file() or name == named]
        if lists:
            return lists[0], [_listed(line, folder) for line in read_list(lists[0])]
        if not own:
            raise UserError(
                f"{folder} holds {len(_xml_in(folder))} XML files, but nothing says which of them are for {split}: write "
                f"{LISTS[split][0]} (the name of an image a line), or such a file elsewhere and data.{split}_list=FILE "
                "(relative to the root)"
            )
        return folder, _xml_in(folder)

    def _folder(self, split: Split) -> tuple[Path, bool]:
        """Return the folder of a split's XML files, and whether it is the split's own."""
        named = self._data.annotations(split)
        if named is not None:
            folder = self._root / named
            if not _xml_in(folder):
                raise UserError(f"data.{split}_annotations={named}: there are no XML files in {folder}")
            return folder, True
        for patterns, own in ((OWN[split], True), (SHARED, False)):
            found = [path for path in _folders(self._root, patterns) if _xml_in(path)]
            if len(found) > 1 and own:
                choice = listing([str(path.relative_to(self._root)) for path in found])
                raise UserError(f"{self._root} has several {split} folders: {choice}; write data.{split}_annotations=FOLDER")
            if found:
                return found[0], own
        raise UserError(
            f"{self._root} has no XML files for {split}; write data.{split}_annotations=FOLDER (relative to the root)"
        )

    def _image_folder(self, split: Split, files: list[Path]) -> Path:
        """Return the folder that holds the images of some XML files."""
        named = self._data.images(split)
        if named is not None:
            if not (self._root / named).is_dir():
                raise UserError(f"data.{split}_images={named}: there is no folder {self._root / named}")
            return self._root / named
        beside, root = files[0].parent, self._root
        candidates = [beside, *(root / name / beside.name for name in ("JPEGImages", "images")), root / "JPEGImages"]
        candidates += [root / "images", beside.parent / "JPEGImages", beside.parent / "images", root]
        stems = {file.stem for file in files}
        for folder in candidates:
            if any(path.stem in stems for path in images_in(folder)):
                return folder
        tried = listing([str(folder) for folder in dict.fromkeys(candidates)])
        raise UserError(
            f"the image of {files[0]} is in none of {tried}; write data.{split}_images=FOLDER (relative to the root)"
        )

    def _match(self, split: Split, read: list[tuple[Path, VocFile]]) -> list[str]:
        """Return the image of each XML file: the one of the same name, and the one that the file names where several are."""
        if not read:
            raise UserError(f"{self._files(split)[0]} names no image that has an XML file; check the names in it")
        folder = self._image_folder(split, [file for file, _ in read])
        by_stem: dict[str, list[str]] = {}
        for path in images_in(folder):
            by_stem.setdefault(path.stem, []).append(path.name)
        found = []
        for file, content in read:
            same = by_stem.get(file.stem, [])
            found.append(str(folder / (same[0] if len(same) == 1 else content.image or f"{file.stem}.jpg")))
        return found


def read_voc(path: Path) -> VocFile:
    """Read an XML file.

    Raises:
        UserError: it is no XML, was cut short, or is of something else.
    """
    try:
        tree = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is no XML, or was cut short ({error}); copy or export it again") from None
    if tree.tag != "annotation":
        raise UserError(f"{path} is not in VOC's format: it holds <{tree.tag}>, not <annotation>")
    first = 1 if (tree.findtext("source/database") or "").startswith(CHALLENGE) else 0
    height, width = _number(tree.findtext("size/height")), _number(tree.findtext("size/width"))
    size = (int(height), int(width)) if height >= 1 and width >= 1 else None
    objects = []
    for item in tree.iterfind("object"):
        left, top, right, bottom = (_number(item.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax"))
        box = [left - first, top - first, right - left + first, bottom - top + first]
        objects.append(VocObject((item.findtext("name") or "").strip(), box, (item.findtext("difficult") or "").strip() == "1"))
    return VocFile(size, Path((tree.findtext("filename") or "").strip().replace("\\", "/")).name, objects)


def _number(text: str | None) -> float:
    """Return the number in a tag; NaN where there is none."""
    try:
        return float(text or "")
    except ValueError:
        return math.nan


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
