"""PyTorch's zip format: a pickle, and a member for each storage, none compressed; members are mapped where they lie."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from detkit.weights.memory import Content, Memory, budget_for, storage_key
from detkit.weights.rebuild import Rebuilder
from detkit.weights.records import Refused, shown
from detkit.weights.tensors import Storage
from detkit.weights.unpickle import Machine

LOCAL_SIGNATURE = b"PK\x03\x04"
LOCAL_HEADER = struct.Struct("<4s22xHH")
"""Of a member of a zip file: signature, then lengths of the name and of a field behind it."""
ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, struct.error)
STRANGE = re.compile(r"^/|^[A-Za-z]:|\\|(^|/)\.\.(/|$)")
"""In names that would lead out of a folder, had the members been written into one."""


@dataclass(frozen=True)
class Member:
    """A file in a zip file, as it lies there.

    Attributes:
        start: of its bytes.
        size: number of bytes.
        checksum: CRC-32 of the bytes.
    """

    start: int
    size: int
    checksum: int


def zipped_content(path: Path, memory: Memory) -> Content:
    """Return what a zip file of PyTorch's holds.

    Raises:
        Refused: it is not one, damaged, or not to be read.
    """
    members = _members(path, memory)
    roots = [name.removesuffix("data.pkl") for name in members if name.rpartition("/")[2] == "data.pkl"]
    if len(roots) != 1:
        raise Refused("is a zip file, but not one that PyTorch wrote")
    [root] = roots
    if f"{root}constants.pkl" in members:
        raise Refused("holds a TorchScript program; save its state_dict() instead")
    if (order := members.get(f"{root}byteorder")) and memory.data[order.start : order.start + order.size] == b"big":
        raise Refused("was written on a machine of the other byte order; load it with PyTorch and save it anew")
    storages: dict[str, torch.UntypedStorage] = {}

    def stored(key: Any) -> Storage:
        dtype, name, size, _ = storage_key(key)
        if name not in storages:
            if f"{root}data/{name}" not in members:
                raise Refused(f"lacks its storage '{shown(name)}'")
            member = members[f"{root}data/{name}"]
            _check(memory, member, f"data/{name}")
            storages[name] = memory.storage(member.start, member.size)
        if size > storages[name].nbytes():
            raise Refused(f"claims {size} bytes of storage '{shown(name)}', which has {storages[name].nbytes()}")
        return Storage(storages[name], dtype)

    program = members[f"{root}data.pkl"]
    _check(memory, program, "data.pkl")
    budget = budget_for(program.size)
    rebuilder = Rebuilder(stored, budget)
    value = Machine(memory.data, rebuilder, budget, program.start, program.start + program.size).run()
    return Content(value, "PyTorch's zip format", rebuilder.records, {})


def _members(path: Path, memory: Memory) -> dict[str, Member]:
    """Return the members of a zip file by name.

    Raises:
        Refused: they are compressed, overlap, or have names that PyTorch doesn't write.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    except ZIP_ERRORS as error:
        raise Refused(f"is a damaged zip file ({type(error).__name__})") from None
    members: dict[str, Member] = {}
    end = 0
    for entry in entries:
        name = shown(entry.filename)
        if entry.filename in members or STRANGE.search(entry.filename):
            raise Refused(f"holds a member with a name that PyTorch doesn't write ('{name}')")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
            raise Refused(f"holds a compressed or encrypted member ('{name}'), as PyTorch doesn't write; zip it without")
        offset = entry.header_offset
        header = memory.data[offset : offset + LOCAL_HEADER.size] if offset >= end else b""
        signature, *lengths = LOCAL_HEADER.unpack(header) if len(header) == LOCAL_HEADER.size else (b"", 0, 0)
        start = offset + LOCAL_HEADER.size + sum(lengths)
        end = start + entry.file_size
        if signature != LOCAL_SIGNATURE or end > len(memory.data):
            raise Refused(f"is a damaged zip file: its member '{name}' is not where it says, or lies on another")
        members[entry.filename] = Member(start, entry.file_size, entry.CRC)
    return members


def _check(memory: Memory, member: Member, name: str) -> None:
    """Check the bytes of a member.

    Raises:
        Refused: they are not those that were written.
    """
    with memoryview(memory.data) as view:
        if zlib.crc32(view[member.start : member.start + member.size]) != member.checksum:
            raise Refused(f"is damaged (in '{shown(name)}'); restore it from a copy, or download it again")
