"""Any format to any other."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from detkit.data.copying import Copier
from detkit.data.layout import Splits, open_data
from detkit.data.spec import Data
from detkit.data.writers import WRITERS, Writer
from detkit.errors import UserError


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        names: class names, in order.
        images: their number by split.
        boxes: their number by split, without crowds where the format has none.
        notes: what was mended, renamed or left out, a line for each kind.
    """

    names: tuple[str, ...]
    images: dict[str, int]
    boxes: dict[str, int]
    notes: list[str]


def convert(data: Data, out: Path, to: Literal["coco", "yolo", "voc"], link: bool = False) -> Conversion:
    """Write both splits of a data set in another format, with its images.

    The folder appears whole or not at all: it is written aside and renamed.

    Args:
        data: what to read; ``limit`` and ``background`` hold.
        out: a folder that does not exist yet, or is empty.
        to: the format.
        link: make hard links to the images instead of copies.

    Raises:
        UserError: the data set cannot be opened, or ``out`` holds something or cannot be written.
    """
    out = out.expanduser().resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder; name a new one")
    splits = open_data(data)
    if to == "voc":
        _check_names(splits.names)
    copier = Copier(link)
    try:
        _write_whole(out, WRITERS[to], splits, copier)
    except UnicodeEncodeError as error:
        raise UserError(
            f"{error.object!a} is no text in UTF-8; rename the image file or class, and mend its annotation"
        ) from None
    except OSError as error:
        raise UserError(f"{out} cannot be written ({error}); make room there, or name another folder") from None
    both = {"train": splits.train, "val": splits.val}
    crowds = {split: 0 if to == "coco" else int(annotations.crowds.sum()) for split, annotations in both.items()}
    lost = [f"{split}: crowds left out, as {to} has none: {count}" for split, count in crowds.items() if count]
    return Conversion(
        splits.names,
        {split: len(annotations) for split, annotations in both.items()},
        {split: len(annotations.labels) - crowds[split] for split, annotations in both.items()},
        [*splits.notes, *splits.beyond, *lost, *copier.tally.notes(out)],
    )


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if name.strip().splitlines() != [name] or any(ord(letter) < ord(" ") for letter in name):
            raise UserError(
                f"the class name {name!r} cannot be written in VOC's format, where names are whole lines of text; rename "
                "the class in what you convert"
            )


def _write_whole(out: Path, writer: Writer, splits: Splits, copier: Copier) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        writer(aside, splits, copier)
        aside.chmod(0o755)
        if out.exists():
            out.rmdir()
        aside.replace(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
