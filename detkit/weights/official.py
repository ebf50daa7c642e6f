"""Names of tensors in the code of a module's authors, and in timm.

A module that is one-to-one with its authors' has a table ``official``: their names of its children and tensors (dotted
where several words of theirs are one role) -> ours, or None where a tensor holds nothing to load. What the table doesn't
name is named alike. Tables compose: the rest of a name is looked up in the child that it leads to. A table ``timm`` holds
timm's names in the same way where timm has the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any

from torch import nn


def recognises(module: nn.Module, table: str = "official") -> bool:
    """Say whether ``module`` or a part of it has such a table."""
    return any(hasattr(part, table) for part in module.modules())


def rename(module: nn.Module, names: Iterable[str], table: str = "official") -> dict[str, str]:
    """Return the names of one kind of ``table`` -> ours; those that hold nothing to load are left out."""
    pairs = ((name, _ours(module, name.split("."), table)) for name in names)
    return {theirs: ".".join(ours) for theirs, ours in pairs if ours is not None}


def _ours(part: Any, words: list[str], kind: str) -> list[str] | None:
    """Return our words for the publisher's ``words`` below ``part``; None where they hold nothing to load."""
    if not words:
        return []
    table: Mapping[str, str | None] = getattr(part, kind, {})
    count = next((count for count in range(len(words), 0, -1) if ".".join(words[:count]) in table), 1)
    theirs = ".".join(words[:count])
    ours = table.get(theirs, theirs)
    if ours is None:
        return None
    path = ours.split(".")
    child = reduce(lambda parent, word: getattr(parent, word, None), path, part)
    rest = _ours(child, words[count:], kind)
    return None if rest is None else path + rest
