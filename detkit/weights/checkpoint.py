"""Checkpoints: written whole or not at all, read without running code, every byte checked.

Beside Lightning's own entries a checkpoint holds::

    {"format": 1, "detkit": "0.1.0", "experiment": {...}, "modules": ["mylab.blocks"], "classes": ["cat", ...],
     "licence": "...", "data": {"train": {"images": 205, "boxes": 4888, "sha256": "..."}, "val": {...}}}

Where weights are averaged, Lightning stores the averaged ones under ``state_dict`` and the live ones, which training goes on
from, under ``current_model_state``. The detector is the attribute ``detector`` of the trained module, hence the prefix.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit import __version__
from detkit.errors import UserError
from detkit.spec import Spec, to_dict, user_modules
from detkit.weights.files import replace_file

FORMAT = 1
"""What this version writes; it reads this and, through `MIGRATIONS`, all earlier ones."""

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From each earlier format to the next."""

PREFIX = "detector."
"""Of the detector's tensors in ``state_dict``."""

OPTIONAL: dict[str, Any] = {"epoch": 0, "global_step": 0, "averaged": False, "licence": "", "data": {}}
"""What converted and earlier checkpoints lack, and what that means."""

ENTRIES = {"detkit": str, "experiment": dict, "modules": list, "classes": list, "state_dict": dict} | {
    name: type(value) for name, value in OPTIONAL.items()
}
"""What must be there, and of which type."""

PLAIN = (type(None), bool, int, float, str, bytes, torch.Size, torch.dtype, torch.device)
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error)
CONTAINERS = (dict, OrderedDict, list, tuple, set)


@dataclass(frozen=True)
class Checkpoint:
    """What a detector can be rebuilt from.

    Attributes:
        path: the file.
        version: the detkit that wrote it.
        experiment: plain tree of the experiment's spec.
        modules: the user's own modules that define parts of it.
        classes: names by label.
        weights: the detector's tensors to evaluate and predict with: the averaged ones where averages were kept.
        live: the tensors that training goes on from; the same where no averages were kept.
        epoch: epochs begun, from 0.
        step: optimizer steps taken.
        averaged: ``weights`` are an average over training.
        licence: terms of the weights that training started from; empty where none are known.
        data: what it was trained on, by split (`detkit.data.fingerprint`); empty where that is not known.
    """

    path: Path
    version: str
    experiment: dict[str, Any]
    modules: tuple[str, ...]
    classes: tuple[str, ...]
    weights: dict[str, Tensor]
    live: dict[str, Tensor]
    epoch: int
    step: int
    averaged: bool
    licence: str
    data: dict[str, Any]


def header(
    experiment: Spec, classes: Sequence[str], licence: str = "", data: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the entries, all plain data, that make a Lightning checkpoint one of detkit's.

    Args:
        experiment: what was trained.
        classes: names by label.
        licence: terms of the weights that training started from, where they are known.
        data: fingerprints of what it is trained on, by split.
    """
    return {
        "format": FORMAT,
        "detkit": __version__,
        "experiment": to_dict(experiment),
        "modules": user_modules(experiment),
        "classes": list(classes),
        "licence": licence,
        "data": dict(data or {}),
    }


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Save ``content`` as ``path``; whoever looks finds the old file or the new one, never a part.

    Raises:
        TypeError: something in it is neither plain data nor a tensor and could not be read again; nothing is written.
        OSError: the disk is full or the folder cannot be written to; the old file stays as it was.
    """
    replace_file(path, packed(content))


def packed(content: dict[str, Any]) -> memoryview:
    """Return the bytes of a checkpoint file.

    They are made in memory: torch's writer hides the error of a file that it cannot write to behind one of its own.

    Raises:
        TypeError: something in it is neither plain data nor a tensor and could not be read again.
    """
    for where, value in _objects(content, ""):
        raise TypeError(f"a checkpoint holds plain data and tensors only; {where} is a {type(value).__name__}")
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this or an earlier format.

    Raises:
        UserError: no such file, damaged or cut short, no checkpoint of detkit, of a later format, or one that holds code.
    """
    path = Path(path)
    return checkpoint_of(read_content(path), path)


def checkpoint_of(content: dict[str, Any], path: Path) -> Checkpoint:
    """Return what the entries of a checkpoint file say.

    Raises:
        UserError: they are not those of a whole checkpoint, or of a later format.
    """
    content = OPTIONAL | migrate(content, path)
    for name, kind in ENTRIES.items():
        if not isinstance(content.get(name), kind):
            raise UserError(f"{path} is not a whole checkpoint: its entry '{name}' is missing or no {kind.__name__}")
    for name in ("classes", "modules"):
        if not all(isinstance(item, str) for item in content[name]):
            raise UserError(f"{path} is not a whole checkpoint: its entry '{name}' holds what is no text")
    return Checkpoint(
        path=path,
        version=content["detkit"],
        experiment=content["experiment"],
        modules=tuple(content["modules"]),
        classes=tuple(content["classes"]),
        weights=_detector(content["state_dict"], path),
        live=_detector(content.get("current_model_state", content["state_dict"]), path),
        epoch=content["epoch"],
        step=content["global_step"],
        averaged=content["averaged"] or "current_model_state" in content,
        licence=content["licence"],
        data=content["data"],
    )


def read_content(path: Path) -> dict[str, Any]:
    """Return all entries of a checkpoint file as they are, tensors on the CPU; no code in it is ever run.

    Raises:
        UserError: no such file, damaged or cut short, or holding more than plain data and tensors.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a checkpoint in it, such as {path / 'best.ckpt'}")
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is not a checkpoint, or was cut short")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load would take damaged weights for good ones
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is no checkpoint of detkit: it holds more than plain data and tensors, and opening that could run code"
        ) from None
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, EOFError, OSError, *ZIP_ERRORS) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0] or type(error).__name__}") from None
    if damaged:
        raise UserError(f"{path} is damaged (in '{damaged}'); restore it from a copy, or use another checkpoint of the run")
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint of detkit: it holds a {type(content).__name__}")
    return content


def migrate(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return ``content`` in the present format.

    Raises:
        UserError: it names no format, or a later one.
    """
    found = content.get("format")
    if not isinstance(found, int) or found < 1:
        raise UserError(
            f"{path} is not a checkpoint of detkit: it names no format; convert other weights before they are used here"
        )
    if found > FORMAT:
        raise UserError(
            f"{path} has format {found}, written by detkit {content.get('detkit', '?')}; this is detkit {__version__}, "
            f"which reads formats up to {FORMAT}: upgrade detkit"
        )
    for number in range(found, FORMAT):
        content = MIGRATIONS[number](content)
    return content


def _detector(state: dict[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the detector's tensors under their own names."""
    tensors = {name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)}
    if not tensors:
        raise UserError(f"{path} holds no weights of a detector (no '{PREFIX}...')")
    return tensors


def _objects(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield what is neither plain data nor a tensor; a NumPy number, though a float, is an object when stored."""
    if isinstance(value, Tensor) or type(value) in PLAIN:
        return
    if type(value) not in CONTAINERS:
        yield where or "it", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _objects(key, f"a key of {where or 'it'}")
            yield from _objects(item, f"{where}.{key}" if where else str(key))
    else:
        for position, item in enumerate(value):
            yield from _objects(item, f"{where}.{position}")
