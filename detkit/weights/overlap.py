"""What a tensor takes from one of another shape: ``init.overlap=true``, for networks of another width.

A heuristic. Leading channels are copied onto leading channels, which starts a wider network as the narrower one beside what is
new only where channels mean the same in both: so it is with plain convolutions, linear layers and their norms, and with
depthwise kernels. Where a layer reads or writes several things side by side (queries, keys and values in one; the halves that
a CSP stage splits; the maps that it concatenates; groups of another size), only the first of them are aligned, and the rest
is a guess that training has to mend. Measure it against the same run without.
"""

from __future__ import annotations

from torch import Tensor

CHANNEL_AXES = 2
"""Of a weight: outputs, inputs; the axes behind them are a kernel's."""


def overlaps(own: Tensor, other: Tensor) -> bool:
    """Say whether two tensors have something in common: axes of the same number, and values that are no table of positions."""
    return own.ndim == other.ndim and own.is_floating_point() and other.is_floating_point()


def overlapped(own: Tensor, other: Tensor) -> Tensor:
    """Return ``own`` with the values of ``other`` where both have some: leading channels, and the middle of kernels.

    Args:
        own: (outputs, inputs, height, width), or any fewer of these axes.
        other: with as many axes.
    """
    here, there = [], []
    for axis, (size, given) in enumerate(zip(own.shape, other.shape, strict=True)):
        common = min(size, given)
        aligned = axis < CHANNEL_AXES
        here.append(_run(0 if aligned else (size - common) // 2, common))
        there.append(_run(0 if aligned else (given - common) // 2, common))
    mixed = own.clone()
    mixed[tuple(here)] = other[tuple(there)].to(mixed)
    return mixed


def _run(first: int, count: int) -> slice:
    return slice(first, first + count)
