"""Which images show the same: to the byte, or as good as."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from detkit.data.check.looks import Looks

NEAR = 8
"""Bits of 64 that the difference hashes of one picture, scaled or compressed anew, differ by at most."""
ALIKE = 0.98
"""Correlation of their grey pictures, at least."""
FLAT = 2.0
"""Grey levels: a picture that spreads less is one colour, and is compared by its mean."""
ROOM, THUMBS = 2**22, 2**14
"""Pairs of hashes and of grey pictures that are compared at once, so that memory stays below 100 MB."""


def identical(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return for each row of ``one`` (I, 16) the first equal row of ``other`` (J, 16); -1 where there is none."""
    first: dict[bytes, int] = {}
    for number, digest in enumerate(other):
        first.setdefault(digest.tobytes(), number)
    return np.array([first.get(digest.tobytes(), -1) for digest in one], np.int64)


def repeated(digests: np.ndarray) -> np.ndarray:
    """Return for each row (I, 16) an earlier one that is equal; -1 where there is none."""
    first = identical(digests, digests)
    return np.where(first < np.arange(len(first)), first, -1)


def near(one: Looks, other: Looks) -> np.ndarray:
    """Return for each image of ``one`` the image of ``other`` that is as good as the same, the nearest; -1 where none is."""
    usable, others = np.flatnonzero(one.decoded), np.flatnonzero(other.decoded)
    found = np.full(len(one.decoded), -1)
    for start, pairs in _candidates(_signs(one.hashes[usable]), _signs(other.hashes[others])):
        mine, theirs = usable[start + pairs[0]], others[pairs[1]]
        parts = np.array_split(np.arange(len(mine)), 1 + len(mine) // THUMBS)
        alike = np.concatenate([_alike(one.thumbs[mine[part]], other.thumbs[theirs[part]]) for part in parts])
        order = np.argsort(alike, kind="stable")  # the best of each comes last, and stays
        order = order[alike[order] >= ALIKE]
        found[mine[order]] = theirs[order]
    return found


def _candidates(one: np.ndarray, other: np.ndarray) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
    """Yield the pairs whose hashes differ by at most `NEAR` bits, block by block: the block's first row, and indices.

    The product of rows of -1 and 1 is the number of bits less twice the number of those that differ.
    """
    rows = max(1, ROOM // max(1, len(other)))
    for start in range(0, len(one), rows):
        yield start, np.nonzero(one[start : start + rows] @ other.T >= 64 - 2 * NEAR)  # type: ignore[misc]


def _signs(hashes: np.ndarray) -> np.ndarray:
    """Return the bits of hashes (I, 8) as (I, 64) float32, -1 or 1."""
    return 2 * np.unpackbits(hashes.reshape(-1, 8), axis=1).astype(np.float32) - 1


def _alike(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the correlation (K,) of grey pictures (K, 256); of two flat ones, whether they are of one grey."""
    one, other = one.astype(np.float32), other.astype(np.float32)
    means = one.mean(1), other.mean(1)
    one, other = one - means[0][:, None], other - means[1][:, None]
    spreads = np.sqrt((one**2).mean(1)), np.sqrt((other**2).mean(1))
    flat = np.maximum(*spreads) < FLAT
    correlation = (one * other).mean(1) / np.maximum(spreads[0] * spreads[1], 1e-6)
    return np.where(flat, np.abs(means[0] - means[1]) < FLAT, correlation)
