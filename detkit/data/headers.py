"""Looking at every image file before the first step, so that a bad one does not cost an epoch."""

from __future__ import annotations

import os
from collections.abc import Container
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from detkit.data.annotations import Annotations
from detkit.data.files import TURNED, cache_folder, fingerprint, read_header
from detkit.data.images import load_annotated
from detkit.errors import UserError

ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}
"""How a whole JPEG or PNG file ends, by its beginning."""
TAIL = 64
MANY = 2000
"""Images of which it is remembered that they passed; fewer are looked at in no time."""
THREADS = 16
"""They wait for the disk more than they compute."""


def check_images(annotations: Annotations, split: str, known: Container[str] = ()) -> None:
    """Read header and end of each image of a split (at most 0.1 ms an image on a local disk), and decode those that look wrong.

    What is damaged between the two is found when the image is used. Of many images it is remembered, beside them, that they
    passed: none is opened again before its file, or its annotated size, changes.

    Args:
        annotations: the split.
        split: its name.
        known: paths of images that may be broken.

    Raises:
        ImageError: an image cannot be read, or has another size than annotated.
    """
    passed = _record(annotations) if len(annotations) >= MANY and not known else None
    if passed is not None and passed.is_file():
        return

    def check(index: int) -> None:
        path, size = annotations.paths[index], annotations.size(index)
        if path not in known and not looks_right(path, size, annotations.upright):
            load_annotated(path, size, 1, annotations.upright)  # knows more formats, and says what is wrong

    threads = ThreadPoolExecutor(THREADS)
    try:
        checked = threads.map(check, range(len(annotations)))
        for _ in tqdm(checked, f"checking {split} images", len(annotations), unit="image", delay=2, disable=None):
            pass
    finally:
        threads.shutdown(cancel_futures=True)
    if passed is not None:
        with suppress(OSError):  # where one may not write, the next run looks again
            passed.parent.mkdir(exist_ok=True)
            passed.touch()


def _record(annotations: Annotations) -> Path | None:
    """Return the file that says that these images passed; None where it would have no place, or an image is missing."""
    try:
        name = fingerprint(annotations.paths, annotations.sizes.tobytes(), bytes([annotations.upright]))
        return cache_folder(annotations.paths) / f"headers-{name}"
    except (OSError, ValueError):
        return None


def looks_right(path: str, size: tuple[int, int], upright: bool) -> bool:
    """Say whether header and end of an image are those of a whole one of (height, width) ``size``."""
    try:
        _, (height, width), orientation = read_header(path)
    except UserError:
        return False
    if not has_end(path):
        return False
    turned = orientation in TURNED and size == (width, height)
    return turned or (size == (height, width) and not (upright and orientation in TURNED))


def has_end(path: str) -> bool:
    """Say whether a JPEG or PNG file ends as a whole one does; other files always do."""
    with open(path, "rb") as file:  # noqa: PTH123 (a hundred thousand files)
        start = file.read(4)
        end = next((end for beginning, end in ENDS.items() if start.startswith(beginning)), b"")
        file.seek(-min(TAIL, os.fstat(file.fileno()).st_size), os.SEEK_END)
        return end in file.read()
