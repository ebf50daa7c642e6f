"""Finding out what a data set's folder holds, and opening it as training and validation splits."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from detkit.data.annotations import Annotations
from detkit.data.coco import CocoReader
from detkit.data.headers import check_images
from detkit.data.packing import pack
from detkit.data.presets import DEFAULT, PRESETS
from detkit.data.raw import Complain, RawSplit, Reader, listing, refuse
from detkit.data.shapes import drawn_folder
from detkit.data.spec import Data
from detkit.data.voc import VocReader
from detkit.data.yolo import YoloReader
from detkit.errors import UserError

FORMATS: dict[str, type[Reader]] = {"coco": CocoReader, "yolo": YoloReader, "voc": VocReader}
LAYOUTS = ". ".join(f"{name}: {reader.layouts}" for name, reader in FORMATS.items())
"""Where the files of each format are looked for, in words."""


class Splits(NamedTuple):
    """A data set, ready to load."""

    train: Annotations
    val: Annotations
    names: tuple[str, ...]
    """Class names by label."""
    notes: list[str]
    """What was mended, a line for each kind and file."""
    beyond: tuple[str, ...] = ()
    """What the files say further, and a conversion loses."""


def open_data(data: Data, broken: Container[str] = ()) -> Splits:
    """Find, read and check both splits of a data set.

    Classes are known by name: their labels follow the ids of the training split, and the validation split may number and order
    its categories otherwise.

    Args:
        data: where it is.
        broken: paths of images that may be broken, as a run that goes on has met them and left them out.

    Raises:
        UserError: there is no data set at ``data.root``, a file is not what it should be, images are missing, or a category of
            the validation split is unknown to the training split; an image is no image, or has another size than annotated.
    """
    reader = find_reader(data)
    train_raw, val_raw = reader.read("train"), reader.read("val")
    names = tuple(train_raw.categories.values())
    check_classes(val_raw, names, str(train_raw.where))
    train_raw, stray_notes = _with_strays(train_raw, val_raw, reader, data)
    train, train_notes = pack(train_raw, names)
    val, val_notes = pack(val_raw, names)
    if train.crowds.all():
        reasons = "".join(f". {note}" for note in train_notes)
        raise UserError(
            f"{train_raw.where} has no usable box in its {len(train)} images, so there is nothing to learn{reasons}"
        )
    check_images(train, "train", broken)
    check_images(val, "val", broken)
    beyond = tuple(dict.fromkeys([*train_raw.beyond, *val_raw.beyond]))
    return Splits(train, val, names, list(dict.fromkeys(train_notes + val_notes + stray_notes)), beyond)


def open_names(data: Data) -> tuple[str, ...]:
    """Return the class names of a data set by label, as `open_data` does, and read nothing but the training annotations.

    Raises:
        UserError: as for `open_data`.
    """
    return tuple(find_reader(data).read("train").categories.values())


def open_val(data: Data, names: Sequence[str]) -> tuple[Annotations, list[str]]:
    """Open the validation split alone, for a detector that knows the classes ``names``; return it and what was mended.

    Raises:
        UserError: as for `open_data`.
    """
    raw = find_reader(data).read("val")
    check_classes(raw, names, "the detector")
    return pack(raw, tuple(names))


def check_classes(raw: RawSplit, names: Sequence[str], where: str) -> None:
    """Check that every category of a split is among the class ``names``, which are those of ``where``.

    Raises:
        UserError: one isn't.
    """
    unknown = [name for name in raw.categories.values() if name not in names]
    if unknown:
        raise UserError(
            f"{raw.where} has the category '{unknown[0]}', which {where} lacks (it has {listing(names)}); "
            "use the same category names in both"
        )


def _with_strays(train: RawSplit, val: RawSplit, reader: Reader, data: Data) -> tuple[RawSplit, list[str]]:
    """Return the training split, with background images where the user wants them, and notes on images without annotation."""
    beside_train = reader.strays("train")
    beside_val = sorted(set(reader.strays("val")) - set(beside_train))
    notes = []
    if beside_train:
        said = "trained on as background" if data.background else "left out; data.background=true trains on them as background"
        notes.append(f"{train.where}: images without annotation: {len(beside_train)} ({beside_train[0]}, for example), {said}")
    if beside_val:
        notes.append(f"{val.where}: images without annotation: {len(beside_val)} ({beside_val[0]}, for example), left out")
    if not (data.background and beside_train):
        return train, notes
    added = beside_train if data.limit is None else beside_train[: max(0, data.limit - len(train.paths))]
    first = max(image["id"] for image in train.images) + 1
    entries = [{"id": first + number} for number in range(len(added))]
    return replace(train, images=[*train.images, *entries], paths=[*train.paths, *added]), notes


def find_reader(data: Data, complain: Complain = refuse) -> Reader:
    """Return the reader of a data set, whatever its format.

    Raises:
        UserError: there is no data set at ``data.root``, or nothing says which of several formats it is in.
    """
    root = _root(data)
    name = data.format or _named_format(root, data) or _found_format(root)
    if name == "coco" and (data.names or data.train_list or data.val_list):
        given = next(field for field in ("names", "train_list", "val_list") if getattr(data, field))
        raise UserError(f"data.{given} is for data in YOLO's or VOC's format, but {root} is in COCO's; leave it out")
    return FORMATS[name](root, data, complain)


def _root(data: Data) -> Path:
    drawn = data.root or DEFAULT
    if drawn in PRESETS and not Path(drawn).is_dir():
        return drawn_folder(drawn)
    root = Path(drawn).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UserError(f"data.root={data.root} {what}; name the folder of a data set")
    if not any(root.iterdir()):
        raise UserError(f"data.root={data.root} is empty; name a folder that holds one of these. {LAYOUTS}")
    return root


def _named_format(root: Path, data: Data) -> str | None:
    """Return the format of the annotations that the user names; None where none are named."""
    named = data.train_annotations or data.val_annotations
    if named is None:
        return None
    path = root / named
    if not path.is_dir():
        return "coco"
    return "voc" if any(path.glob("*.xml")) else "yolo"


def _found_format(root: Path) -> str:
    """Return the one format that a folder looks like."""
    seen = {name: reader.recognise(root) for name, reader in FORMATS.items()}
    found = {name: what for name, what in seen.items() if what is not None}
    if len(found) == 1:
        return next(iter(found))
    if found:
        several = listing([f"{name} ({what})" for name, what in found.items()])
        raise UserError(f"{root} holds several formats: {several}; choose one with data.format={next(iter(found))}")
    raise UserError(
        f"{root} has no layout that is known. {LAYOUTS}. Or say what it is: data.format=coco|yolo|voc, "
        "data.train_annotations=FILE (COCO) or FOLDER, data.train_images=FOLDER, data.train_list=FILE, and the same with val_"
    )
