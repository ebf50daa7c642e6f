"""A cache for tensors that follow from sizes alone: position codes, anchors."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Cached:
    """Keeps the last few results, one a key; an attribute of a module, but no part of its state.

    What is kept is made outside of inference mode and without a gradient, so that training may use it after inference.
    Copies and pickles start empty. Under ``torch.compile`` and ``torch.export`` nothing is looked up or kept: the graph
    computes the values itself.

    Args:
        limit: results to keep; the one that was not used for longest goes first. Sixteen hold a multi-scale training's sizes.
    """

    def __init__(self, limit: int = 16) -> None:
        self.limit = limit
        self.kept: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` returns for ``key``: all that the result depends on, so sizes, dtype and device."""
        if torch.compiler.is_compiling():
            return make()
        value = self.kept.pop(key, None)
        if value is None:
            with torch.inference_mode(False), torch.no_grad():
                value = make()
        self.kept[key] = value  # as the latest
        while len(self.kept) > self.limit:
            self.kept.pop(next(iter(self.kept)))
        return value

    def __reduce__(self) -> tuple[type[Cached], tuple[int]]:
        return type(self), (self.limit,)
