"""Pascal VOC's format: an XML file for each image, with the corners of its boxes in pixels.

Corners. The PASCAL challenges count pixels from 1 and include the last one, so that their boxes reach from xmin - 1 to xmax.
The tools that took the format over write the edges themselves, and their users take them as such: BCCD's XML and JSON files
agree so. Files whose ``source/database`` is "The VOC...", as in the challenges, are read the first way, all others the second.

Objects marked as difficult are objects like any other here: trained on and scored. Parts of objects are not read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from xml.etree import ElementTree

from tqdm import tqdm

from detkit.data.files import class_file, images_in, numbered, read_list
from detkit.data.raw import Complain, RawSplit, Split, Tally, refuse, without_missing
from detkit.data.spec import Data
from detkit.data.voc_files import VocPlace, find_place, first_xml
from detkit.errors import UserError

CHALLENGE = "The VOC"
"""How ``source/database`` begins in the challenges' own files."""
DIFFICULT = "objects marked as difficult, kept"
DECLARED = re.compile(rb"""\s*<\?xml[^>]*encoding\s*=\s*["']([\w.-]+)""")
"""The encoding that an XML file names."""


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

    def __init__(self, root: Path, data: Data, complain: Complain = refuse) -> None:
        self._root, self._data, self._complain = root, data, complain
        self._places: dict[Split, VocPlace] = {}
        self._annotated: set[str] = set()

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """Return the first XML file in a folder."""
        found = first_xml(root)
        return None if found is None else str(found.relative_to(root))

    def read(self, split: Split) -> RawSplit:
        """Read a split; classes are in the order that the user or classes.txt gives, else of the alphabet."""
        place, tally, read = self._place(split), Tally(), []
        for file in tqdm(place.files, f"reading {split} annotations", unit="file", delay=2, disable=None):
            if not file.is_file():
                tally.add("images listed, but without an XML file", str(file))
                continue
            try:
                read.append((file, read_voc(file)))
            except UserError as error:
                self._complain("annotation files that cannot be read", str(error), [str(file)])
        names = self._names([item.name for _, content in read for item in content.objects])
        paths = _match(place, read)
        self._annotated.update(paths)
        read, paths = read[: self._data.limit], paths[: self._data.limit]
        present = without_missing(place.where, paths, self._complain)
        read, paths = [read[number] for number in present], [paths[number] for number in present]
        number_of = {name: number for number, name in names.items()}
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        places: list[tuple[str, int]] = []
        for number, (file, content) in enumerate(read, 1):
            height, width = content.size or (None, None)
            images.append({"id": number, "height": height, "width": width})
            for order, item in enumerate(content.objects, 1):
                if item.difficult:
                    tally.add(DIFFICULT, f"{file}, object {order}")
                entry = {"image_id": number, "category_id": number_of.get(item.name, -1), "bbox": item.box}
                annotations.append(entry)
                places.append((str(file), order))
        beyond = [f"{place.where}: objects lose the mark of being difficult"] if DIFFICULT in tally.found else []
        return RawSplit(place.where, images, paths, annotations, names, places, tally, beyond)

    def strays(self, split: Split) -> list[str]:
        """Return the images without an XML file: of a split's own folder or list, and for training those in no list.

        Both splits are to be read before.
        """
        mine, other = self._place(split), self._place("val" if split == "train" else "train")
        others = other.files if other.images == mine.images else []
        annotated = {path.stem for path in (*mine.xml, *others) if path.is_file()}
        listed, elsewhere = {file.stem for file in mine.files}, {file.stem for file in others}
        whole = split == "train" or not mine.listed
        left = [path for path in images_in(mine.images) if path.stem not in annotated and str(path) not in self._annotated]
        return [str(path) for path in left if path.stem in listed or (whole and path.stem not in elsewhere)]

    def _place(self, split: Split) -> VocPlace:
        if split not in self._places:
            self._places[split] = find_place(self._root, self._data, split)
        return self._places[split]

    def _names(self, used: Iterable[str]) -> dict[int, str]:
        if self._data.names:
            return numbered(self._data.names, "data.names")
        file = class_file(self._root)
        return numbered(read_list(file), str(file)) if file is not None else dict(enumerate(sorted(set(used) - {""})))


def _match(place: VocPlace, read: list[tuple[Path, VocFile]]) -> list[str]:
    """Return the image of each XML file: the one of the same name, and the one that the file names where several are."""
    by_stem: dict[str, list[str]] = {}
    for path in images_in(place.images):
        by_stem.setdefault(path.stem, []).append(path.name)
    found = []
    for file, content in read:
        same = by_stem.get(file.stem, [])
        found.append(str(place.images / (same[0] if len(same) == 1 else content.image or f"{file.stem}.jpg")))
    return found


def read_voc(path: Path) -> VocFile:
    """Read an XML file.

    Raises:
        UserError: it is no XML, was cut short, or is of something else.
    """
    tree = _parse(path)
    if tree.tag != "annotation":
        raise UserError(f"{path} is not in VOC's format: it holds <{tree.tag}>, not <annotation>")
    first = 1 if (tree.findtext("source/database") or "").startswith(CHALLENGE) else 0
    height, width = _number(tree.findtext("size/height")), _number(tree.findtext("size/width"))
    size = (int(height), int(width)) if 1 <= height < math.inf and 1 <= width < math.inf else None
    objects = []
    for item in tree.findall("object"):  # plain tags: paths are several times slower
        around = item.find("bndbox")
        corners = {} if around is None else {corner.tag: corner.text for corner in around}
        left, top, right, bottom = (_number(corners.get(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
        box = [left - first, top - first, right - left + first, bottom - top + first]
        objects.append(VocObject((item.findtext("name") or "").strip(), box, (item.findtext("difficult") or "").strip() == "1"))
    return VocFile(size, Path((tree.findtext("filename") or "").strip().replace("\\", "/")).name, objects)


def _parse(path: Path) -> ElementTree.Element:
    try:
        content = path.read_bytes()
        declared = DECLARED.match(content)
        try:
            return ElementTree.fromstring(content)
        except ValueError:  # an encoding of several bytes a character, which the parser leaves to others
            if declared is None:
                raise
            return ElementTree.fromstring(content.decode(declared[1].decode()))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check who may read it") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path} is no XML, or was cut short ({error}); copy or export it again") from None


def _number(text: str | None) -> float:
    """Return the number in a tag; NaN where there is none."""
    try:
        return float(text or "")
    except ValueError:
        return math.nan
