"""Plain containers, bytes, paths and names of members, rebuilt from what a pickle calls to make them.

Ordered, default and counting dictionaries are dictionaries, and paths are texts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from detkit.weights.names import CLASSES, member
from detkit.weights.records import Budget, Name, Record, Refused, checked_items, checked_key

BYTES = 8
"""Copied for one unit of work."""


def _dict(budget: Budget, items: Any = ()) -> dict[Any, Any]:
    pairs = checked_items(items, budget)
    if isinstance(pairs, dict):
        return dict(pairs)
    if not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
        raise Refused("makes a dictionary of what are no pairs")
    return {checked_key(key): value for key, value in pairs}


def _list(budget: Budget, items: Any = (), _: Any = None) -> list[Any]:
    return list(checked_items(items, budget))


def _tuple(budget: Budget, items: Any = ()) -> tuple[Any, ...]:
    return tuple(checked_items(items, budget))


def _set(budget: Budget, items: Any = ()) -> set[Any]:
    return set(map(checked_key, checked_items(items, budget)))


def _frozenset(budget: Budget, items: Any = ()) -> frozenset[Any]:
    return frozenset(_set(budget, items))


def _bytes(budget: Budget, text: Any = "", _: Any = None) -> bytes:
    """Return what protocol 2 stores as text, a byte a letter."""
    if not isinstance(text, str | bytes):
        raise Refused(f"makes bytes of a {type(text).__name__}")
    budget.spend(len(text) // BYTES)
    return text.encode("latin-1") if isinstance(text, str) else text


def _complex(_: Budget, real: Any, imaginary: Any) -> complex:
    if type(real) is not float or type(imaginary) is not float:
        raise Refused("makes a complex number of what are no numbers")
    return complex(real, imaginary)


def _path(budget: Budget, *parts: Any) -> str:
    """Return a path as text."""
    if not all(type(part) is str for part in parts):
        raise Refused("makes a path of what is no text")
    budget.spend(sum(map(len, parts)) // BYTES)
    return "/".join(parts).replace("//", "/")


def _attribute(_: Budget, owner: Any, name: Any) -> Name:
    """Return the name of a method, or of a nested class."""
    if not isinstance(owner, Name | Record):
        raise Refused(f"asks for an attribute of a {type(owner).__name__}; it may be meant to run code")
    return member(owner.text if isinstance(owner, Name) else owner.name, name)


PATHS = {f"{module}.{name}": _path for module in ("pathlib", "pathlib._local") for name in CLASSES[module].split()}

PLAIN: dict[str, Callable[..., Any]] = PATHS | {
    "_codecs.encode": _bytes,
    "builtins.bytearray": _bytes,
    "builtins.bytes": _bytes,
    "builtins.complex": _complex,
    "builtins.dict": _dict,
    "builtins.frozenset": _frozenset,
    "builtins.getattr": _attribute,
    "builtins.list": _list,
    "builtins.set": _set,
    "builtins.tuple": _tuple,
    "collections.Counter": _dict,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda budget, _=None, items=(): _dict(budget, items),
    "collections.deque": _list,
}
"""What a pickle calls -> what is called here."""
