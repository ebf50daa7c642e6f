"""Rows of classes: a network for other classes keeps what was learnt of those that both have, by name.

A head names the tensors that have a row for each class, in order of labels, in ``class_tensors``, as do the parts within it
that hold some. Rows beyond the classes, as that of no class, come last. Names that differ in case, spaces, hyphens or
underscores alone are one name where nothing fits better: ``Traffic_Light`` takes the rows of ``traffic light``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

MOST = 10
"""Classes that are told by name."""


class ClassNames(NamedTuple):
    """Names by label, of a module and of the weights that it is to load."""

    own: Sequence[str]
    file: Sequence[str]


@dataclass(frozen=True)
class KeptRows:
    """Which classes a module took rows of.

    Attributes:
        names: of the classes, by the module's labels, with those that the file has for them.
        total: number of the module's classes.
        taken: for each tensor of classes but these that are refused, how many rows were taken, and how many it has.
        refused: the tensors with rows that could not be taken, with their shape here and in the file.
    """

    names: dict[str, str]
    total: int
    taken: dict[str, tuple[int, int]]
    refused: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def __str__(self) -> str:
        some = [name if name == there else f"{name} (there {there})" for name, there in self.names.items()][:MOST]
        known = ", ".join(some) + (f" and {len(self.names) - MOST} more" if len(self.names) > MOST else "")
        told = f"the rows of {len(self.names)} of {self.total} classes were taken by name" + (f": {known}" if known else "")
        if not self.refused:
            return told
        name, (own, file) = next(iter(self.refused.items()))
        more = f" (and {len(self.refused) - 1} more)" if len(self.refused) > 1 else ""
        return f"{told}; not where they are of another width: {name}{more} has {list(own)}, in the file {list(file)}"


def class_tensors(module: nn.Module) -> list[str]:
    """Return the names of the tensors of ``module`` that have a row for each class."""
    return [
        f"{part}.{name}".removeprefix(".")
        for part, inner in module.named_modules()
        for name in getattr(inner, "class_tensors", ())
    ]


def with_class_rows(module: nn.Module, state: Mapping[str, Tensor], classes: ClassNames) -> tuple[dict[str, Tensor], KeptRows]:
    """Return ``state`` with the rows of the module's classes in their places; a class that it lacks has the module's row.

    Left out are tensors that differ in more than their classes, with all of the same layer (a bias means nothing without its
    weights), and, where no class is known, all that have rows.

    Args:
        module: what the state is to be loaded into.
        state: tensors by the module's names.
        classes: names of both; those of ``own`` differ from one another.
    """
    own = module.state_dict()
    fitted = dict(state)
    taken: dict[str, tuple[int, int]] = {}
    refused: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    common = common_labels(classes)
    layers: dict[str, list[str]] = {}
    for name in class_tensors(module):
        if name in state:
            layers.setdefault(name.rpartition(".")[0], []).append(name)
    for names in layers.values():
        pairs = {name: (own[name], fitted.pop(name)) for name in names}
        misfits = {name: pair for name, pair in pairs.items() if not _fits(*pair, classes)}
        refused |= {name: (tuple(here.shape), tuple(there.shape)) for name, (here, there) in misfits.items()}
        if misfits:
            taken |= {name: (0, len(own[name])) for name in pairs.keys() - misfits.keys()}
            continue
        taken |= {
            name: (len(here) - len(classes.own) + len(common) if common else 0, len(here)) for name, (here, _) in pairs.items()
        }
        if common:
            fitted |= {name: _placed(*pair, classes, common) for name, pair in pairs.items()}
    kept = {classes.own[here]: classes.file[there] for here, there in common if any(count for count, _ in taken.values())}
    return fitted, KeptRows(kept, len(classes.own), taken, refused)


def common_labels(classes: ClassNames) -> list[tuple[int, int]]:
    """Return the labels of classes that both have, ours and the file's; no class of the file serves two of ours."""
    exact = {name: label for label, name in reversed([*enumerate(classes.file)])}
    common = {label: exact[name] for label, name in enumerate(classes.own) if name in exact}
    used = set(common.values())
    ours = _by_plain_name((label, name) for label, name in enumerate(classes.own) if label not in common)
    theirs = _by_plain_name((label, name) for label, name in enumerate(classes.file) if label not in used)
    common |= {
        ours[name][0]: theirs[name][0] for name in ours.keys() & theirs.keys() if len(ours[name]) == len(theirs[name]) == 1
    }
    return sorted(common.items())


def _by_plain_name(labelled: Iterable[tuple[int, str]]) -> dict[str, list[int]]:
    """Return labels by what a name is without case, spaces, hyphens and underscores."""
    found: dict[str, list[int]] = {}
    for label, name in labelled:
        found.setdefault(re.sub(r"[\s_-]+", "", name).casefold(), []).append(label)
    return found


def _fits(own: Tensor, file: Tensor, classes: ClassNames) -> bool:
    """Say whether two tensors differ in their classes alone."""
    if own.dim() != file.dim() or own.shape[1:] != file.shape[1:]:
        return False
    return len(own) - len(classes.own) == len(file) - len(classes.file) >= 0


def _placed(own: Tensor, file: Tensor, classes: ClassNames, common: Sequence[tuple[int, int]]) -> Tensor:
    """Return ``own`` with the rows of the common classes, and those beyond the classes, from ``file``."""
    here, there = (list(rows) for rows in zip(*common, strict=True))
    placed = own.clone()
    placed[here] = file[there].to(placed)
    placed[len(classes.own) :] = file[len(classes.file) :].to(placed)
    return placed
