"""Every image file of a split, decoded once: whether it is whole, and what it takes to tell whether two show the same."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from detkit.data.check.decoders import overheard
from detkit.data.files import cache_folder, fingerprint, read_header
from detkit.data.images import ImageError, load_image
from detkit.data.workers import start_worker
from detkit.errors import UserError

Row = tuple[str, str, tuple[int, ...], int, np.ndarray, np.ndarray, np.ndarray]
THUMB = 16
"""Pixels of the sides of the grey picture that is kept of each image."""
DIGEST = 16
KIND = "looks"
"""How the names of records begin."""
CHUNK = 16


class Looks(NamedTuple):
    """What I images are like, in the order of their paths; some 300 bytes an image.

    Attributes:
        damage: (I,) text: what the decoder says of a damaged file that it shows nevertheless; empty for a whole one.
        formats: (I,) text: what the file is, in Pillow's words.
        sizes: (I, 2) int64 height and width as stored; 0 where it cannot be decoded at all.
        orientations: (I,) int64 EXIF tag.
        digests: (I, 16) uint8, of the file's bytes.
        hashes: (I, 8) uint8: 64 bits of difference hash.
        thumbs: (I, 256) uint8: a grey picture of 16 x 16.
    """

    damage: np.ndarray
    formats: np.ndarray
    sizes: np.ndarray
    orientations: np.ndarray
    digests: np.ndarray
    hashes: np.ndarray
    thumbs: np.ndarray

    @property
    def decoded(self) -> np.ndarray:
        """(I,) bool: which images can be decoded, perhaps not to their end."""
        return np.asarray(self.sizes.any(1))


def look_at(paths: Sequence[str], split: str, workers: int) -> Looks:
    """Return what images are like, from the record of an earlier look where no file has changed since.

    Args:
        paths: image files.
        split: what they are, for the progress bar.
        workers: processes that decode; 0 decodes in this one.
    """
    known = recorded(paths)
    if known is not None:
        return known
    bar = tqdm(_rows(paths, workers), f"decoding {split} images", len(paths), unit="image", delay=1, disable=None)
    rows = list(bar)
    looks = Looks(*(np.array(column) for column in zip(*rows, strict=True)))
    _record(paths, looks)
    return looks


def recorded(paths: Sequence[str]) -> Looks | None:
    """Return the record of an earlier look at the same files; None where there is none, or a file has changed since."""
    try:
        if not any(cache_folder(paths).glob(f"{KIND}-*")):
            return None
        with np.load(_file(paths), allow_pickle=False) as stored:
            return Looks(*(stored[name] for name in Looks._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _record(paths: Sequence[str], looks: Looks) -> None:
    """Keep a record beside the images, if they are where one may write."""
    try:
        file = _file(paths)
        file.parent.mkdir(exist_ok=True)
        aside = file.with_name(f".{os.getpid()}-{file.name}")
        np.savez_compressed(aside, **looks._asdict())
        aside.replace(file)
    except (OSError, ValueError):
        return


def _file(paths: Sequence[str]) -> Path:
    return cache_folder(paths) / f"{KIND}-{fingerprint(paths, b'2')}.npz"


def _rows(paths: Sequence[str], workers: int) -> Iterator[Row]:
    """Yield a row of `Looks` for each path, in order."""
    if not workers:
        yield from map(_look, paths)
        return
    pool = ProcessPoolExecutor(workers, initializer=start_worker)
    try:
        yield from pool.map(_look, paths, chunksize=CHUNK)
    except BrokenProcessPool:
        raise UserError(
            "a process that decodes images died (of memory, or of a file that its decoder cannot bear); write --workers 0, "
            "which dies of the same file, and look at the one that comes after the last in the progress bar"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _look(path: str) -> Row:
    """Return a row of `Looks`; one of zeros for what cannot be decoded."""
    try:
        digest = hashlib.blake2b(Path(path).read_bytes(), digest_size=DIGEST).digest()
        with overheard() as damage:
            image = load_image(path, upright=False)
    except (ImageError, OSError):
        return "", "", (0, 0), 1, np.zeros(DIGEST, np.uint8), np.zeros(8, np.uint8), np.zeros(THUMB * THUMB, np.uint8)
    kind, orientation = _kind(path)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    thumb = cv2.resize(grey, (THUMB, THUMB), interpolation=cv2.INTER_AREA).reshape(-1)
    return "; ".join(damage), kind, image.shape[:2], orientation, np.frombuffer(digest, np.uint8), difference_hash(grey), thumb


def _kind(path: str) -> tuple[str, int]:
    """Return the format of a file, in Pillow's words, and its orientation tag; empty and 1 where only the decoder knows it."""
    try:
        header = read_header(path)
    except UserError:
        return "", 1
    return header.kind, header.orientation


def difference_hash(grey: np.ndarray) -> np.ndarray:
    """Return 64 bits (8 uint8) that say where a picture (H, W) grows lighter from left to right, on a grid of 8 x 8."""
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return np.packbits(small[:, 1:] > small[:, :-1])
