"""Where a cache keeps its pixels: memory that worker processes share, or a file that they map."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from detkit.data.annotations import Annotations
from detkit.data.cache_plan import CachePlan, in_words
from detkit.data.files import cache_folder
from detkit.data.images import ImageError
from detkit.errors import UserError

SHARED_MEMORY = Path("/dev/shm")
MEMORY = Path("/proc/meminfo")


class Store:
    """Decoded images in one flat array, read-only once it is made; costs a worker nothing to have.

    Args:
        plan: what is where.
        shapes: (K, 2) height and width of each entry.
        pixels: bytes, by slices.
    """

    def __init__(self, plan: CachePlan, shapes: np.ndarray, pixels: torch.Tensor | MappedFile) -> None:
        self._plan, self._shapes, self._pixels = plan, shapes, pixels

    def get(self, index: int, reduction: int) -> np.ndarray | None:
        """Return an image decoded at 1 / ``reduction`` of its size, if it is kept at that."""
        number = self._plan.entry(index, reduction)
        if number is None:
            return None
        height, width = self._shapes[number].tolist()
        if not height:
            return None
        start = int(self._plan.starts[number])
        return np.asarray(self._pixels[start : start + 3 * height * width]).reshape(height, width, 3)


class MappedFile:
    """The bytes of a file, mapped by each process for itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes: np.ndarray | None = None

    def __getitem__(self, where: slice) -> np.ndarray:
        if self._bytes is None:
            self._bytes = np.memmap(self._path, np.uint8, "r")
        return self._bytes[where]

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_bytes": None}  # else a worker that is not forked would get a copy


def memory_store(annotations: Annotations, plan: CachePlan) -> Store:
    """Decode a split into memory that processes started later share.

    Raises:
        UserError: there is not enough memory.
    """
    free = _free_memory()
    if free is not None and free < plan.size:
        raise UserError(
            f"data.cache=ram needs {in_words(plan.size)} of shared memory, and {in_words(free)} are free; "
            "write data.cache=disk (or give a container more: docker run --shm-size)"
        )
    pixels = torch.empty(plan.size, dtype=torch.uint8).share_memory_()
    flat = pixels.numpy()

    def keep(start: int, image: np.ndarray) -> None:
        flat[start : start + image.size] = image.reshape(-1)

    return Store(plan, _fill(annotations, plan, keep), pixels)


def disk_store(annotations: Annotations, plan: CachePlan) -> Store:
    """Find the split decoded on disk, else decode it; processes that ask at once wait for the first.

    It lies where the images do, in a folder whose name changes when an image or the input size does, and which appears whole.

    Raises:
        UserError: it cannot be written.
    """
    parent = cache_folder(annotations.paths)
    try:
        folder = parent / plan.fingerprint(annotations)
        if not folder.is_dir():
            parent.mkdir(exist_ok=True)
            with _alone(parent):
                if not folder.is_dir():
                    _write(annotations, plan, folder)
        return Store(plan, np.load(folder / "shapes.npy"), MappedFile(folder / "pixels"))
    except OSError as error:
        raise UserError(
            f"data.cache=disk: the {in_words(plan.size)} of the cache cannot be written to {parent}: "
            f"{error.strerror or error}; make room (older caches there may be deleted), or write data.cache=none"
        ) from None


def _write(annotations: Annotations, plan: CachePlan, folder: Path) -> None:
    """Write a cache aside, and rename it when it is whole."""
    if shutil.disk_usage(folder.parent).free < plan.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    aside = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        with (aside / "pixels").open("wb") as file:

            def keep(start: int, image: np.ndarray) -> None:
                left = image.data.cast("B")
                while left:
                    written = os.pwrite(file.fileno(), left, start)
                    left, start = left[written:], start + written

            shapes = _fill(annotations, plan, keep)
            file.truncate(plan.size)
            os.fsync(file.fileno())
        np.save(aside / "shapes.npy", shapes)
        aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fill(annotations: Annotations, plan: CachePlan, keep: Callable[[int, np.ndarray], None]) -> np.ndarray:
    """Decode each entry of a plan, on all cores, and give it to ``keep`` with its first byte; return the entries' sizes.

    An image that cannot be read has the size 0, 0; it is asked for again, and left out, when its turn comes.
    """

    def decode(number: int) -> tuple[int, int]:
        try:
            image = plan.decode(annotations, number)
        except ImageError:
            return 0, 0
        keep(int(plan.starts[number]), image)
        return image.shape[0], image.shape[1]

    threads = ThreadPoolExecutor(os.cpu_count())
    try:
        made = threads.map(decode, range(len(plan)))
        return np.array(list(tqdm(made, "caching images", len(plan), unit="image", delay=2, disable=None)), np.int64)
    finally:
        threads.shutdown(cancel_futures=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is here; the lock ends with its process."""
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _free_memory() -> int | None:
    """Return how many bytes a new piece of shared memory can have; None where the system doesn't tell."""
    free = []
    if SHARED_MEMORY.is_dir():
        free.append(shutil.disk_usage(SHARED_MEMORY).free)
    if MEMORY.is_file():
        lines = dict(line.split(":") for line in MEMORY.read_text().splitlines())
        free.append(1024 * int(lines["MemAvailable"].split()[0]))
    return min(free, default=None)
