"""What the reader of every format returns: a split as its files say, nothing mended yet."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from detkit.data.spec import Data
from detkit.errors import UserError

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")

Complain = Callable[[str, str, Sequence[str]], None]
"""Takes what is wrong with files that cannot be used: what they are, a sentence, and all of them. If it returns, they are left
out."""


def refuse(what: str, sentence: str, places: Sequence[str]) -> None:
    """Raise the sentence as a `UserError`: what a run does."""
    raise UserError(sentence)


MOST_PLACES = 5
"""Of what was found: so many are named."""


@dataclass(frozen=True)
class Found:
    """How often something was found, and the first places."""

    count: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class Tally:
    """Counts what is wrong by kind, with the first places of each."""

    found: dict[str, Found] = field(default_factory=dict)

    def add(self, what: str, place: str) -> None:
        """Count one more."""
        known = self.found.get(what, Found(0, ()))
        self.found[what] = Found(known.count + 1, (*known.places, place)[:MOST_PLACES])

    def notes(self, where: Path) -> list[str]:
        """Return a line for each kind."""
        return [f"{where}: {what}: {found.count} ({found.places[0]}, for example)" for what, found in self.found.items()]


@dataclass(frozen=True)
class RawSplit:
    """A split in COCO's terms, whatever its format; `detkit.data.packing` mends it.

    Attributes:
        where: the annotation file or folder that messages name.
        images: an entry for each image: ``id``, and ``height`` and ``width`` where they are known.
        paths: image files, in order of ``images``.
        annotations: an entry for each box: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in pixels), and ``id``,
            ``area``, ``iscrowd`` where they are known.
        categories: class names by id, in order of ids.
        places: (file, number of its line or object) of each box, for messages; empty where ids say it.
        tally: what was found wrong and mended or left out in reading.
        beyond: what the files say further and nothing here uses, so that a conversion loses it, a line for each kind.
        upright: boxes are of the pictures as they are shown, turned as their orientation tags say, else as they are stored.
    """

    where: Path
    images: Sequence[dict[str, Any]]
    paths: Sequence[str]
    annotations: Sequence[dict[str, Any]]
    categories: dict[int, str]
    places: Sequence[tuple[str, int]] = ()
    tally: Tally = field(default_factory=Tally)
    beyond: Sequence[str] = ()
    upright: bool = False

    def place(self, index: int) -> str:
        """Say where a box is written."""
        if self.places:
            file, number = self.places[index]
            return f"{file}, {'object' if file.endswith('.xml') else 'line'} {number}"
        entry = self.annotations[index]
        return f"annotation {entry.get('id')} of image {entry.get('image_id')}"


def without_images(raw: RawSplit, rows: set[int]) -> RawSplit:
    """Return a split without the images ``rows`` (their numbers in ``images``) and their boxes."""
    if not rows:
        return raw
    lost = {raw.images[row]["id"] for row in rows}
    images = [row for row in range(len(raw.images)) if row not in rows]
    boxes = [number for number, entry in enumerate(raw.annotations) if entry.get("image_id") not in lost]
    return replace(
        raw,
        images=[raw.images[row] for row in images],
        paths=[raw.paths[row] for row in images],
        annotations=[raw.annotations[number] for number in boxes],
        places=[raw.places[number] for number in boxes] if raw.places else (),
    )


class Reader(Protocol):
    """One format. Made for a folder and what the user says about it."""

    layouts: ClassVar[str]
    """Where its files are looked for, in words."""

    def __init__(self, root: Path, data: Data, complain: Complain = refuse) -> None: ...

    @classmethod
    def recognise(cls, root: Path) -> str | None:
        """Return what in a folder looks like this format; None for nothing."""

    def read(self, split: Split) -> RawSplit:
        """Read a split: its first ``data.limit`` images.

        Raises:
            UserError: there is no such split, or it cannot be read at all.
        """

    def strays(self, split: Split) -> list[str]:
        """Return the image files beside those of a split that no annotation tells of; both splits are to be read before."""


def without_missing(where: Path, paths: Sequence[str], complain: Complain) -> list[int]:
    """Return which image files are there, and complain of the others.

    Each folder is listed once, as asking for each file is slow on network disks.
    """
    present: dict[str, set[str]] = {}
    missing = {}
    for number, path in enumerate(paths):
        parent, base = os.path.split(path)
        if parent not in present:
            present[parent] = set(os.listdir(parent)) if os.path.isdir(parent) else set()  # noqa: PTH112, PTH208
        if base not in present[parent]:
            missing[number] = path
    if missing:
        sentence = (
            f"{len(missing)} of the {len(paths)} images that {where} lists are missing, for example "
            f"{next(iter(missing.values()))}; restore them, or remove them from the file"
        )
        complain("images that are missing", sentence, list(missing.values()))
    return [number for number in range(len(paths)) if number not in missing]


def listing(words: Sequence[str], limit: int = 8) -> str:
    """Return the first few of many words, for a message."""
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return ", ".join(words[:limit]) + more
