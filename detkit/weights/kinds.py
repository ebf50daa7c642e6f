"""Parts that only sound alike: a new block whose norm has the old one's name must not take the old one's statistics."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import nn

from detkit.parts import Detector

CONTAINERS = (nn.ModuleDict, nn.ModuleList, nn.ParameterDict, nn.ParameterList, nn.Sequential)
"""What holds parts that are independent of one another: a longer list, or other entries, make it no other kind."""


def strangers(module: nn.Module, own: Collection[str], file: Collection[str]) -> set[str]:
    """Return the names in both ``own`` and ``file`` that lie in a part of which the file has another kind.

    It is of another kind where each has a child that the other lacks. A whole detector, backbone, neck or head never is: what
    has the same role there keeps its weights.

    Args:
        module: a detector, or a part of one.
        own: names of the module's tensors.
        file: names of the file's tensors, as the module would name them.
    """
    here, there = _children(own), _children(file)
    parts = dict(module.named_modules(remove_duplicate=False))
    whole = 1 if isinstance(module, Detector) else 0
    other = tuple(
        f"{path}."
        for path in here.keys() & there.keys()
        if path.count(".") >= whole and here[path] - there[path] and there[path] - here[path]
        if not isinstance(parts[path], CONTAINERS)
    )
    return {name for name in own if name.startswith(other) and name in file}


def _children(names: Iterable[str]) -> dict[str, set[str]]:
    """Return the next words after every beginning of dotted names."""
    found: dict[str, set[str]] = {}
    for name in names:
        words = name.split(".")
        for count in range(1, len(words)):
            found.setdefault(".".join(words[:count]), set()).add(words[count])
    return found
