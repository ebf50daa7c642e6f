"""Decoded images, kept: the latest few in each worker, and the whole split in memory or on disk where the user asks for it.

An image is kept as the decoder gave it, at each reduction (1, 1/2, 1/4, 1/8) that the input size and the zoom of the
augmentation can ask for, so that batches are the same with and without a cache.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from detkit.data.annotations import Annotations
from detkit.data.cache_plan import CachePlan, in_words
from detkit.data.images import load_annotated
from detkit.data.spec import Data
from detkit.data.stores import Store, disk_store, memory_store

RECENT_BYTES = 64 * 2**20
"""Of decoded images that a worker keeps by itself; holds a block at any usual size."""


class Images:
    """The decoded images of a split.

    Args:
        annotations: the split.
        data: says whether all are kept, and where.
        zooms: least and largest factor by which images are zoomed, beyond fitting into the input.
    """

    def __init__(self, annotations: Annotations, data: Data, zooms: tuple[float, float]) -> None:
        self._annotations = annotations
        self._kind = data.cache
        self._plan = CachePlan.of(annotations, data, zooms) if data.cache else None
        self._store: Store | None = None
        self._recent: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._bytes = 0

    @property
    def note(self) -> str | None:
        """What the cache takes, in a line; None without one."""
        if self._plan is None:
            return None
        where = "shared memory in each training process" if self._kind == "ram" else "disk, beside the images"
        room = in_words(self._plan.size)
        return f"data.cache={self._kind}: {len(self._annotations)} decoded training images take {room} of {where}"

    def fill(self) -> None:
        """Fill or find the cache, if there is to be one; to be called before there are worker processes.

        Raises:
            UserError: there is not enough room.
        """
        if self._plan is not None and self._store is None:
            make = memory_store if self._kind == "ram" else disk_store
            self._store = make(self._annotations, self._plan)

    def get(self, index: int, reduction: int) -> np.ndarray:
        """Return an image decoded at 1 / ``reduction`` of its size; not to be written to.

        Raises:
            ImageError: it cannot be read.
        """
        kept = self._store.get(index, reduction) if self._store else None
        return self._decoded(index, reduction) if kept is None else kept

    def _decoded(self, index: int, reduction: int) -> np.ndarray:
        key = (index, reduction)
        if key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        annotations = self._annotations
        image = load_annotated(annotations.paths[index], annotations.size(index), reduction, annotations.upright)
        self._recent[key] = image
        self._bytes += image.nbytes
        while self._bytes > RECENT_BYTES and len(self._recent) > 1:
            self._bytes -= self._recent.popitem(last=False)[1].nbytes
        return image
