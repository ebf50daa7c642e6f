"""Which decoded images a cache holds: what training can ask for, known before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detkit.data.annotations import Annotations
from detkit.data.collage import base_scale
from detkit.data.files import fingerprint
from detkit.data.images import REDUCED, load_annotated
from detkit.data.spec import Data


def in_words(size: int) -> str:
    """Return a number of bytes as it is said: ``1.5 GB``, ``20 MB``."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


@dataclass(frozen=True)
class CachePlan:
    """Which images of a split are kept at which reductions, one after the other in a flat array.

    Attributes:
        first: (I,) int64, number of each image's first entry; its others follow.
        finest: (I,) int64, exponent (2 ** x) of the reduction of that entry.
        index: (K,) int64, image of each entry.
        exponent: (K,) int64, of the entry's reduction.
        starts: (K + 1,) int64, bytes before each entry.
    """

    first: np.ndarray
    finest: np.ndarray
    index: np.ndarray
    exponent: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, annotations: Annotations, data: Data, zooms: tuple[float, float]) -> CachePlan:
        """Return what training can ask for.

        Args:
            annotations: the split.
            data: input size and way of resizing.
            zooms: least and largest factor by which images are zoomed, beyond fitting into the input.
        """
        fits = np.array([base_scale(size, data.shape, data.resize).max() for size in annotations.sizes.tolist()])
        reductions = np.array([reduction for reduction in REDUCED if reduction > 1])
        coarsest, finest = ((fits[:, None] * zoom * reductions <= 1).sum(1) for zoom in zooms)
        counts = coarsest - finest + 1
        first = np.cumsum(counts) - counts
        index = np.repeat(np.arange(len(fits)), counts)
        exponent = finest[index] + np.arange(len(index)) - first[index]
        sides = -(-annotations.sizes[index] // 2 ** exponent[:, None])  # decoders round reduced sizes up or down
        return cls(first, finest, index, exponent, np.concatenate([[0], np.cumsum(3 * sides.prod(1))]))

    def __len__(self) -> int:
        return len(self.index)

    @property
    def size(self) -> int:
        """Bytes in all."""
        return int(self.starts[-1])

    def entry(self, index: int, reduction: int) -> int | None:
        """Return the number of an image's entry at a reduction, if it is kept."""
        number = int(self.first[index]) + reduction.bit_length() - 1 - int(self.finest[index])
        return number if 0 <= number < len(self) and self.index[number] == index else None

    def decode(self, annotations: Annotations, number: int) -> np.ndarray:
        """Return what belongs into an entry."""
        index = int(self.index[number])
        reduction = 2 ** int(self.exponent[number])
        return load_annotated(annotations.paths[index], annotations.size(index), reduction, annotations.upright)

    def fingerprint(self, annotations: Annotations) -> str:
        """Return a name that changes when an image file (path, size, time) or a kept reduction does."""
        arrays = (annotations.sizes, self.finest, self.exponent)
        return fingerprint(annotations.paths, bytes([annotations.upright]), *(values.tobytes() for values in arrays))
