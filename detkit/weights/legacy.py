"""PyTorch's legacy format, pickles and storages one behind another, and bare pickles."""

from __future__ import annotations

import mmap
from typing import Any

import torch

from detkit.weights.memory import Content, Memory, budget_for, storage_key
from detkit.weights.rebuild import Rebuilder
from detkit.weights.records import Budget, Record, Refused, shown
from detkit.weights.tensors import Storage
from detkit.weights.unpickle import Machine

MAGIC = 0x1950A86A20F9469CFC6C
"""First pickle of the legacy format."""


def legacy_content(memory: Memory) -> Content:
    """Return what pickles, one behind another, hold: PyTorch's legacy format, whose storages follow them, or one alone."""
    data, budget = memory.data, budget_for(len(memory.data))
    alone = Rebuilder(_nothing, budget)
    value, position = _run(data, alone, 0)
    if type(value) is not int or value != MAGIC:
        return Content(value, "pickle", alone.records, {})
    for _ in ("protocol", "system"):
        _, position = _run(data, alone, position)
    survey = Survey(budget)
    _, behind = _run(data, survey, position)
    keys, behind = _run(data, alone, behind)
    storages = _storages(memory, keys, survey.sizes, behind)

    def stored(key: Any) -> Any:
        if _is_class(key):
            return key[1]
        dtype, name, _, view = storage_key(key)
        if name not in storages:
            raise Refused(f"lacks its storage '{shown(name)}'")
        return Storage(_part(storages[name], view, dtype), dtype)

    rebuilder = Rebuilder(stored, budget)
    value, _ = _run(data, rebuilder, position)
    return Content(value, "PyTorch's legacy format", rebuilder.records, {})


def _run(data: mmap.mmap, builder: Rebuilder, position: int) -> tuple[Any, int]:
    """Return the object of the pickle at ``position``, and where it ends."""
    machine = Machine(data, builder, builder.budget, position)
    return machine.run(), machine.position


def _is_class(key: Any) -> bool:
    """Say whether a persistent id is that of a module's class, which the format stores with its source code."""
    return type(key) is tuple and len(key) == 4 and key[0] == "module"


def _nothing(_: Any) -> Storage:
    raise Refused("refers to something outside, but holds nothing beside its pickle")


class Survey(Rebuilder):
    """Reads a pickle for the storages that it refers to, which follow it; everything else is a record."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(self.note, budget)
        self.sizes: dict[str, int] = {}

    def note(self, key: Any) -> Any:
        """Keep the element size of a storage."""
        if not _is_class(key):
            dtype, name, _, _ = storage_key(key)
            self.sizes.setdefault(name, dtype.itemsize)

    def called(self, target: Any, args: Any) -> Any:
        """Return a record whatever is called."""
        return Record("")

    def created(self, target: Any, args: tuple[Any, ...]) -> Any:
        """Return a record whatever is made."""
        return Record("")


def _storages(memory: Memory, keys: Any, sizes: dict[str, int], position: int) -> dict[str, torch.UntypedStorage]:
    """Return the storages that lie one behind another from ``position``, each after the number of its elements.

    Raises:
        Refused: the file ends before they do.
    """
    if type(keys) is not list:
        raise Refused("holds no list of its storages")
    found: dict[str, torch.UntypedStorage] = {}
    for key in keys:
        if type(key) is not str or key not in sizes or key in found:
            raise Refused("lists a storage that nothing refers to")
        size = int.from_bytes(memory.data[position : position + 8], "little", signed=True) * sizes[key]
        found[key] = memory.storage(position + 8, size)
        position += 8 + size
    return found


def _part(storage: torch.UntypedStorage, view: Any, dtype: torch.dtype) -> torch.UntypedStorage:
    """Return the part of a storage that old versions refer to."""
    if view is None:
        return storage
    _, offset, count = view
    start, size = offset * dtype.itemsize, count * dtype.itemsize
    if not 0 <= start <= start + size <= storage.nbytes():
        raise Refused("refers to a part beyond a storage")
    return storage[start : start + size]
