"""Records of pickled modules as state dicts, whatever their classes: known by ``_parameters``, ``_buffers``, ``_modules``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from detkit.weights.records import Budget, Record, Refused

PARTS = ("_parameters", "_buffers", "_modules")
MOST = 40_000
"""Tensors and modules in one; a file may hold one module under many names."""
DEEPEST, LONGEST = 64, 256
"""Modules within one another, and characters of a name."""


def is_module(value: Any) -> bool:
    """Say whether ``value`` is the record of a module."""
    return isinstance(value, Record) and all(isinstance(value.get(part), dict) for part in PARTS)


def module_state(module: Record) -> dict[str, Tensor]:
    """Return the tensors of a module by name, as its own state dict would name them.

    Raises:
        Refused: it contains itself, or more than a network does.
    """
    return dict(_tensors(module, "", 0, Budget(MOST)))


def _tensors(module: Record, prefix: str, depth: int, budget: Budget) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a module and those within it."""
    if depth > DEEPEST:
        raise Refused(f"holds modules within modules, more than {DEEPEST} deep")
    passing = module.get("_non_persistent_buffers_set")
    for part in PARTS:
        budget.spend(1 + len(entries := module.get(part)))
        for name, value in entries.items():
            if not isinstance(name, str) or (part == "_buffers" and isinstance(passing, set) and name in passing):
                continue
            if len(prefix) + len(name) > LONGEST:
                raise Refused(f"holds a module with names of more than {LONGEST} characters")
            if part == "_modules" and is_module(value):
                yield from _tensors(value, f"{prefix}{name}.", depth + 1, budget)
            elif part != "_modules" and isinstance(value, Tensor):
                yield f"{prefix}{name}", value
