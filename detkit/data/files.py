"""Files of a data set: images in folders, lists of images, class names."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from detkit.errors import UserError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""Image files that a folder is searched for."""
CLASS_FILES = ("classes.txt", "labels/classes.txt", "*/labels/classes.txt", "labels/*/classes.txt")

ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)
"""The EXIF tag that says how to turn a stored picture upright, and its values that exchange width and height."""


def is_image(name: str) -> bool:
    """Say whether a file name is an image's."""
    dot = name.rfind(".")
    return name[dot:].lower() in SUFFIXES and not name.startswith(".")


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, in order of name."""
    return sorted(path for path in folder.iterdir() if is_image(path.name)) if folder.is_dir() else []


def images_below(folder: Path) -> list[Path]:
    """Return the image files of a folder and its subfolders, in order of path."""
    return sorted(path for path in folder.rglob("*") if is_image(path.name))


class Header(NamedTuple):
    """What an image file says of itself before its pixels.

    Attributes:
        kind: its format, in Pillow's words.
        size: stored (height, width); of a TIFF file the turned one, as all decoders turn it.
        orientation: EXIF tag; 1 (as stored) where there is none that decoders can read, and for TIFF.
    """

    kind: str
    size: tuple[int, int]
    orientation: int


def read_header(path: str) -> Header:
    """Read what an image file says of itself.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with Image.open(path) as header:
            kind = header.format or ""
            return Header(kind, (header.height, header.width), 1 if kind == "TIFF" else _orientation(header))
    except (OSError, ValueError, RuntimeError, Image.DecompressionBombError) as error:  # damaged ones, as decoders put it
        raise UserError(f"the image {path} cannot be read ({error}); replace it, or remove it from the data") from None


def _orientation(header: Image.Image) -> int:
    try:
        tag = header.getexif().get(ORIENTATION, 1)
    except (SyntaxError, struct.error, ValueError, LookupError, TypeError):  # damaged tags, of a picture that may be whole
        return 1
    return tag if isinstance(tag, int) else 1


CACHE_FOLDER = ".detkit-cache"
"""Made where the images are."""


def cache_folder(paths: Iterable[str]) -> Path:
    """Return the folder that holds what is kept about these images: beside them, in what is common to their paths."""
    return Path(os.path.commonpath({os.path.dirname(path) for path in paths})) / CACHE_FOLDER  # noqa: PTH120


def fingerprint(paths: Iterable[str], *further: bytes) -> str:
    """Return a name that changes when a file (path, size, time) does, or one of the ``further`` things that it is to stand for.

    Raises:
        OSError: a file is not there.
    """
    digest = hashlib.sha256(b"\0".join(further))
    for path in paths:
        about = os.stat(path)  # noqa: PTH116 (a hundred thousand paths)
        digest.update(f"{path}\0{about.st_size}\0{about.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def read_list(path: Path) -> list[str]:
    """Return the lines of a text file, stripped, without empty ones.

    Raises:
        UserError: there is no such file, it is no text, or it is empty.
    """
    if not path.is_file():
        raise UserError(f"there is no list {path}; check the path")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check who may read it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8 ({error}); save it as such") from None
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"{path} is empty; it must hold a name a line")
    return lines


def class_file(root: Path) -> Path | None:
    """Return the ``classes.txt`` of a data set, one class name a line in order of numbers; None where it has none."""
    return next((path for pattern in CLASS_FILES for path in sorted(root.glob(pattern))), None)


def numbered(names: Sequence[str], where: str) -> dict[int, str]:
    """Return class names by number from 0; two of one name are an error."""
    for number, name in enumerate(names):
        if name in names[:number]:
            raise UserError(f"{where}: two classes have the name '{name}'; rename one")
    return dict(enumerate(names))
