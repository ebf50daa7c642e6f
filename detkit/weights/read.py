"""``read(path)``: the weights in a file, whoever wrote it, without running anything that the file holds.

Read are detkit's checkpoints and published folders, safetensors, PyTorch's zip and legacy formats, and bare pickles: state
dicts, checkpoints around them, and whole pickled modules of classes that need not be installed. A restricted reader rebuilds
tensors and plain containers and makes inert records of everything else; it imports nothing and calls nothing
(`detkit.weights.names` says what is refused). Memory is bounded by the file's size: at most 512 bytes for a byte of its pickle,
16 MB for the names of a module's tensors, and the file itself once more where storages don't lie on multiples of 8 bytes; else
they are mapped where they are. So is time: at most four steps for a byte of the pickle, and half a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from detkit.errors import UserError
from detkit.weights.archive import open_content
from detkit.weights.checkpoint import Checkpoint, read_checkpoint
from detkit.weights.family import Family, family_of
from detkit.weights.folder import WEIGHTS, published_folder, read_folder
from detkit.weights.memory import Content
from detkit.weights.modules import is_module, module_state
from detkit.weights.records import Record, Refused, shown

AVERAGED = ("ema.module", "ema", "ema_state_dict", "state_dict_ema", "model_ema")
"""Where publishers' files hold averaged weights, which they evaluate."""
PLACES = (*AVERAGED, "model", "module", "state_dict")
"""Where they hold a state dict or a module, in order of preference."""
NAMES = ("names", "classes", "class_names", "CLASSES")
"""What they call the names of classes."""
AROUND = ("meta", "meta.dataset_meta", "dataset_meta", "hyper_parameters", "")
"""Where they keep them."""
WRAPPERS = ("module.", "_orig_mod.")
"""Begin every name of a state dict that was taken from a wrapped module."""
LONGEST_TERMS = 500
"""Characters of what a file says of its licence that are passed on."""
STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")
"""End the names of tensors that are no parameters."""


@dataclass(frozen=True)
class Weights:
    """Tensors by name, and what is known of them.

    Attributes:
        path: the file.
        state: the tensors, on the CPU, mapped from the file: to keep them, don't write into it.
        form: the file's format, in words.
        place: where in it they were found, as ``ema.module``; empty for the file's top.
        averaged: whether they are an average over training.
        family: whose they are, guessed from names and shapes.
        classes: names by label, where the file has them.
        licence: what the file says of it itself.
        records: foreign classes that the file refers to, each with the number of its objects.
    """

    path: Path
    state: dict[str, Tensor] = field(repr=False)
    form: str
    place: str = ""
    averaged: bool = False
    family: Family | None = None
    classes: tuple[str, ...] = ()
    licence: str = ""
    records: dict[str, int] = field(default_factory=dict, repr=False)

    @property
    def terms(self) -> str:
        """What the file, or the publisher of its family, says of the licence; empty where neither does."""
        said = [f"the file says {shown(self.licence)}"] if self.licence else []
        known = [f"{self.family.name}: {self.family.licence}"] if self.family and self.family.licence else []
        return "; ".join(known + said)

    @property
    def inherited(self) -> str:
        """What is to be said of a model that is trained from them."""
        return self.terms if self.family and self.family.licence else shown(self.licence, LONGEST_TERMS)

    @property
    def class_count(self) -> int | None:
        """Number of classes by names or shapes; None where neither tells."""
        return len(self.classes) or (self.family.class_count(self.state) if self.family else None)

    @property
    def parameters(self) -> int:
        """Number of elements, running statistics left out."""
        return sum(tensor.numel() for name, tensor in self.state.items() if not name.endswith(STATISTICS))

    @property
    def precision(self) -> dict[str, int]:
        """Number of elements of each type, the most frequent first."""
        counts: Counter[str] = Counter()
        for tensor in self.state.values():
            counts[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
        return dict(counts.most_common())


def read(path: str | Path) -> Weights:
    """Return the weights in a file; nothing in it is run.

    Raises:
        UserError: there is no such file, it holds no weights, is damaged, or may be meant to run code.
    """
    path = Path(path)
    if (folder := published_folder(path)) is not None:
        found = read_folder(folder)
        return _own(folder / WEIGHTS, found, f"published by detkit {found.version}", "")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give a file of weights in it")
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        content = open_content(path)
        if isinstance(content.value, dict) and "format" in content.value:
            found = read_checkpoint(path)
            return _own(path, found, f"checkpoint of detkit {found.version}", "state_dict")
        return _foreign(path, content)
    except Refused as refusal:
        raise UserError(f"{path} {refusal}") from None


def _own(path: Path, found: Checkpoint, form: str, place: str) -> Weights:
    """Return the weights of detkit's own files."""
    return Weights(
        path=path,
        state=found.weights,
        form=form,
        place=place,
        averaged=found.averaged,
        family=family_of(found.weights),
        classes=found.classes,
        licence=found.licence,
    )


def _foreign(path: Path, content: Content) -> Weights:
    """Return the weights of another publisher's file.

    Raises:
        UserError: none are found.
    """
    place, found = next(_candidates(content.value), (None, {}))
    if place is None:
        raise UserError(
            f"{path} is neither a checkpoint of detkit nor a state dict of tensors, and holds none under {', '.join(PLACES)}"
        )
    state = _unwrapped(_tensors(found))
    licence = _at(content.value, "license") or content.remarks.get("license", "")
    return Weights(
        path=path,
        state=state,
        form=content.form,
        place=place,
        averaged=place in AVERAGED,
        family=family_of(state),
        classes=_classes(found, content.value),
        licence=licence if isinstance(licence, str) else "",
        records=content.records,
    )


def _candidates(content: Any) -> Iterator[tuple[str, Any]]:
    """Yield places that hold tensors, with what is there: the usual ones, the top, and one entry that alone holds some."""
    usual = [(place, _at(content, place)) for place in (*PLACES, "")]
    yield from ((place, found) for place, found in usual if _tensors(found))
    if isinstance(content, dict):
        rest = [(str(name), found) for name, found in content.items() if isinstance(name, str) and _tensors(found)]
        if len(rest) == 1:
            yield from rest


def _at(content: Any, place: str) -> Any:
    """Return what lies at a dotted place, None where nothing does."""
    for name in filter(None, place.split(".")):
        content = content.get(name) if isinstance(content, dict | Record) else None
    return content


def _tensors(found: Any) -> dict[str, Tensor]:
    """Return the tensors of a module or a state dict, without numbers and words beside them; none of anything else."""
    if is_module(found):
        return module_state(found)
    if not isinstance(found, Mapping):
        return {}
    kept = {name: value for name, value in found.items() if not isinstance(value, str | float | int | None)}
    named = all(isinstance(name, str) and isinstance(value, Tensor) for name, value in kept.items())
    return kept if named else {}


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the word that begins all its names where it was taken from a wrapped module."""
    for word in WRAPPERS:
        if state and all(name.startswith(word) for name in state):
            state = {name.removeprefix(word): tensor for name, tensor in state.items()}
    return state


def _classes(found: Any, content: Any) -> tuple[str, ...]:
    """Return the names of classes that a module, or the file around it, has; none where they are no plain names."""
    for owner in (found, *(_at(content, place) for place in AROUND)):
        for word in NAMES:
            names = _at(owner, word)
            if isinstance(names, dict) and all(isinstance(label, int) for label in names):
                names = [names[label] for label in sorted(names)]
            if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
                return tuple(names)
    return ()
