"""YOLO's format: a text file beside each image, a row a box: ``class x y width height``, as shares of the image.

The label file of ``.../images/train/a.jpg`` is ``.../labels/train/a.txt``; where no folder is called ``images``, it is beside
the image. An image without one is background. ``x`` and ``y`` are the box's centre. Rows of more numbers are polygons, which
become their bounding box, or, where data.yaml has ``kpt_shape``, boxes followed by keypoints.

Labels are taken to be of the picture as it is shown (turned as its orientation tag says), as all trainers of the format do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from tqdm import tqdm

from detkit.data.data_yaml import read_data_yaml
from detkit.data.files import TURNED, class_file, images_below, numbered, read_header, read_list
from detkit.data.raw import Complain, RawSplit, Split, Tally, listing, refuse, without_missing
from detkit.data.spec import Data
from detkit.errors import UserError

FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("images/train*", "train/images"),
    "val": ("images/val*", "valid/images", "val/images"),
}
ORPHANS = "label files without an image, left out"
LISTS: dict[Split, str] = {"train": "train.txt", "val": "val.txt"}
FAR = 2.0
"""Coordinates beyond this are no shares of the image at all; those nearer are clipped."""


class Row(NamedTuple):
    """A box as it is written."""

    label: int
    box: tuple[float, float, float, float]
    """Left, top, width, height, as shares of the image."""
    polygon: bool


class YoloReader:
    """Reads YOLO's format."""

    layouts: ClassVar[str] = (
        "data.yaml or classes.txt beside images/train/ and labels/train/, images/val/ and labels/val/, or train/images/ and "
        "train/labels/, valid/images/ and valid/labels/, or images/, labels/, train.txt and val.txt"
    )

    def __init__(self, root: Path, data: Data, complain: Complain = refuse) -> None:
        self._root, self._data, self._complain = root, data, complain
        self._yaml = read_data_yaml(root)
        self._names = self._find_names()

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """Return the description or the folder of labels in a folder."""
        described = read_data_yaml(root)
        if described is not None:
            return described.path.name
        found = next((path for pattern in ("labels", "*/labels") for path in sorted(root.glob(pattern))), None)
        return None if found is None else str(found.relative_to(root))

    def strays(self, split: Split) -> list[str]:
        """Return nothing: an image without a label file is background."""
        return []

    def read(self, split: Split) -> RawSplit:
        """Read a split."""
        where, paths = self._images(split)
        tally = Tally()
        for file in self._orphans(paths, split):
            tally.add(ORPHANS, str(file))
        paths = paths[: self._data.limit]
        images: list[dict[str, Any]] = []
        read: list[str] = []
        annotations: list[dict[str, Any]] = []
        places: list[tuple[str, int]] = []
        labelled = 0
        for path, (height, width) in self._measured(
            tqdm(paths, f"reading {split} labels", unit="image", delay=2, disable=None)
        ):
            number = len(images) + 1
            images.append({"id": number, "height": height, "width": width})
            read.append(str(path))
            file = self._label_file(path, split)
            rows = self._rows(file)
            labelled += rows is not None
            if rows is None:
                tally.add("images without a label file, taken as background", str(path))
            for line, words in rows or ():
                row = self._parse(words)
                if isinstance(row, str):
                    tally.add(f"rows {row}, dropped", f"{file}, line {line}")
                    continue
                if row.polygon:
                    tally.add("polygons, replaced by their bounding boxes", f"{file}, line {line}")
                left, top, box_width, box_height = row.box
                box = [left * width, top * height, box_width * width, box_height * height]
                annotations.append({"image_id": number, "category_id": row.label, "bbox": box})
                places.append((str(file), line))
        if not labelled:
            raise UserError(
                f"none of the {len(paths)} images of {where} has a label file: {paths[0]} should have "
                f"{self._label_file(paths[0], split)}; or write data.{split}_annotations=FOLDER (relative to the root)"
            )
        return RawSplit(where, images, read, annotations, self._names, places, tally, upright=True)

    def _measured(self, paths: Iterable[Path]) -> Iterator[tuple[Path, tuple[int, int]]]:
        """Yield the images that can be read, with their (height, width) as they are shown."""
        for path in paths:
            try:
                yield path, _shown_size(path)
            except UserError as error:
                self._complain("images that cannot be read", str(error), [str(path)])

    def _orphans(self, images: Iterable[Path], split: Split) -> Iterator[Path]:
        """Yield the label files with a box whose image is not there, or in a format that no folder is searched for.

        Only where folders of labels mirror those of images: others may serve further splits.
        """
        _, sources = self._sources(split)
        if self._data.annotations(split) is not None or not all(source.is_dir() for source in sources):
            return
        known = {self._label_file(image, split) for image in images}
        for source in sources:
            folder = self._label_file(source / "any", split).parent
            files = sorted(folder.rglob("*.txt")) if folder != source else ()
            for file in files:
                if file not in known and any(isinstance(self._parse(words), Row) for _, words in self._rows(file) or ()):
                    yield file

    def _rows(self, file: Path) -> Iterator[tuple[int, list[str]]] | None:
        """Return the rows of a label file that are not empty, with their numbers from 1; None where there is no file."""
        try:
            text = file.read_text(encoding="utf-8-sig", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            sentence = f"the labels {file} cannot be read ({error.strerror}); make it a text file that you may read"
            self._complain("annotation files that cannot be read", sentence, [str(file)])
            return iter(())
        return ((number, words) for number, line in enumerate(text.splitlines(), 1) if (words := line.split()))

    def _parse(self, words: list[str]) -> Row | str:
        """Return a row, or what is wrong with it."""
        try:
            first, *numbers = map(float, words)
        except ValueError:
            return "that are not numbers"
        if not math.isfinite(first) or not all(map(math.isfinite, numbers)):
            return "with numbers that are not finite"
        count, keypoints = len(numbers), self._yaml.keypoints if self._yaml else 0
        is_box = count == 4 or (keypoints > 0 and count == 4 + keypoints)
        if not is_box and (count < 6 or count % 2):
            return "that are neither 5 numbers (class x y width height) nor a class and a polygon"
        if first not in self._names:
            return f"of a class that is none of the {len(self._names)} named ones"
        if any(abs(value) > FAR for value in (numbers[:4] if is_box else numbers)):
            return "whose coordinates are not shares of the image, from 0 to 1"
        if is_box:
            x, y, width, height = numbers[:4]
            return Row(int(first), (x - width / 2, y - height / 2, width, height), polygon=False)
        left, right, top, bottom = min(numbers[::2]), max(numbers[::2]), min(numbers[1::2]), max(numbers[1::2])
        return Row(int(first), (left, top, right - left, bottom - top), polygon=True)

    def _find_names(self) -> dict[int, str]:
        if self._data.names:
            return numbered(self._data.names, "data.names")
        if self._yaml is not None:
            return self._yaml.names
        file = class_file(self._root)
        if file is not None:
            return numbered(read_list(file), str(file))
        raise UserError(
            f"{self._root} has YOLO labels, but nothing names their classes; write data.names=cat,dog (in order of their "
            "numbers), or a data.yaml with the line `names: [cat, dog]`, or a classes.txt with a name a line"
        )

    def _images(self, split: Split) -> tuple[Path, list[Path]]:
        """Return where the images of a split are said to be, and the images."""
        where, sources = self._sources(split)
        paths = []
        for source in sources:
            if source.is_dir():
                paths += images_below(source)
            else:
                listed = [_listed(line, source, self._root) for line in read_list(source)]
                paths += [listed[number] for number in without_missing(source, list(map(str, listed)), self._complain)]
        if not paths:
            raise UserError(f"{where} holds no images; write data.{split}_images=FOLDER or data.{split}_list=FILE")
        return where, paths

    def _sources(self, split: Split) -> tuple[Path, list[Path]]:
        """Return what messages name, and the folders and lists of a split's images."""
        root, data = self._root, self._data
        if (file := data.image_list(split)) is not None:
            return root / file, [root / file]
        if (named := data.images(split)) is not None:
            if not (root / named).is_dir():
                raise UserError(f"data.{split}_images={named}: there is no folder {root / named}")
            return root / named, [root / named]
        described = self._yaml.sources(split) if self._yaml is not None else []
        if described:
            return described[0], described
        found = [path for pattern in FOLDERS[split] for path in sorted(root.glob(pattern)) if path.is_dir()]
        if len(found) > 1:
            choice = listing([str(path.relative_to(root)) for path in found])
            raise UserError(f"{root} has several folders of {split} images: {choice}; write data.{split}_images=FOLDER")
        if not found and (root / LISTS[split]).is_file():
            found = [root / LISTS[split]]
        if not found:
            raise UserError(
                f"{root} doesn't say which images are for {split}: move them to images/{split}/ and their labels to "
                f"labels/{split}/, or write data.{split}_images=FOLDER, or data.{split}_list=FILE (an image a line; relative "
                "to the root)"
            )
        return found[0], found

    def _label_file(self, image: Path, split: Split) -> Path:
        labels = self._data.annotations(split)
        if labels is not None:
            images = self._data.images(split)
            below = image.relative_to(self._root / images) if images is not None else Path(image.name)
            return (self._root / labels / below).with_suffix(".txt")
        parts = list(image.parent.parts)
        above = len(self._root.parts) if image.is_relative_to(self._root) else 0
        replaced = [place for place, part in enumerate(parts) if part == "images" and place >= above]
        if replaced:
            parts[replaced[-1]] = "labels"
        return Path(*parts, f"{image.stem}.txt")


def _shown_size(path: Path) -> tuple[int, int]:
    """Return (height, width) as a picture is shown."""
    _, (height, width), orientation = read_header(str(path))
    return (width, height) if orientation in TURNED else (height, width)


def _listed(line: str, source: Path, root: Path) -> Path:
    """Return the image that a line of a list names: relative to the list, or else to the root."""
    beside = source.parent / line
    return beside if beside.is_file() else root / line
