"""A file of weights in memory that is mapped, not read, and what it was found to hold.

A file larger than the memory costs what is touched. Storages stay where they are in the file (private pages: writing to
a tensor doesn't change the file), so replace such a file by renaming another to it, never by writing into it.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

import torch

from detkit.weights.records import Budget, Name, Refused
from detkit.weights.tensors import STORAGES

WORK, MOST_WORK = 4, 20_000_000
"""Units of work for a byte of the pickle, and for any file: half a minute."""
ALIGNED = 8
"""Bytes of the widest number: a storage that begins elsewhere is copied, for not every operation takes it."""


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Attributes:
        value: its object, usually a dictionary.
        form: the format, in words.
        records: foreign classes that were read as records, each with their number.
        remarks: texts beside the tensors (safetensors).
    """

    value: Any
    form: str
    records: dict[str, int]
    remarks: dict[str, str]


class Memory:
    """A mapped file, and storages in it."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.whole = torch.frombuffer(data, dtype=torch.uint8).untyped_storage()

    def storage(self, start: int, size: int) -> torch.UntypedStorage:
        """Return a part of the file as a storage.

        Raises:
            Refused: the file ends before.
        """
        if not 0 <= start <= start + size <= len(self.data):
            raise Refused("is cut short, or claims more bytes than it has")
        if not size:
            return torch.UntypedStorage(0)
        part = self.whole[start : start + size]
        return part if start % ALIGNED == 0 else part.clone()


def budget_for(size: int) -> Budget:
    """Return how much work a pickle of ``size`` bytes may ask for."""
    return Budget(min(1024 + WORK * size, MOST_WORK))


def storage_key(key: Any) -> tuple[torch.dtype, str, int, Any]:
    """Return what a persistent id says: the elements' type, the storage's name, its bytes, and a view of it where it is one.

    Raises:
        Refused: it is no storage's.
    """
    if type(key) is not tuple or len(key) not in (5, 6) or key[0] != "storage":
        raise Refused("refers to something outside that is no storage")
    _, kind, name, _, count, *view = key
    dtype = STORAGES.get(kind.text) if type(kind) is Name else None
    if dtype is None or type(name) is not str or type(count) is not int or not 0 <= count < 2**60:
        raise Refused("refers to a storage in a way that PyTorch doesn't")
    return dtype, name, count * dtype.itemsize, view[0] if view else None
