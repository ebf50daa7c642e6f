"""Fields that a width cannot take exactly: what was taken instead, for `--print` to say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import nn


class Fit(NamedTuple):
    """A field whose value does not divide the channels.

    Attributes:
        field: its name.
        asked: its value.
        taken: the value that the module has instead.
        channels: that are divided.
    """

    field: str
    asked: int
    taken: int
    channels: int


def fitted(module: nn.Module, fit: Fit) -> nn.Module:
    """Note on ``module`` what it took, where that is less than asked and than all channels; return it."""
    if fit.taken < min(fit.asked, fit.channels):
        module.fit = fit  # type: ignore[assignment]
    return module


def fits(module: nn.Module) -> Iterator[tuple[str, Fit]]:
    """Yield the dotted name of each part of ``module`` that took less than asked, and what it took."""
    for name, part in module.named_modules():
        fit = getattr(part, "fit", None)
        if isinstance(fit, Fit):
            yield name, fit
