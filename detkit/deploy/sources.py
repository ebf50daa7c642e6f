"""Where pictures to predict on come from: a source is an iterable of frames; files and folders for now."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detkit.data.images import load_image
from detkit.errors import UserError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
"""Files that a folder is searched for; a file given by itself may have any."""


class Frame(NamedTuple):
    """A picture and what it is called.

    Attributes:
        name: path relative to the folder that was given, with ``/``; the file's name where a file was given.
        image: (H, W, 3) uint8 RGB, upright.
    """

    name: str
    image: np.ndarray


class Skipped(NamedTuple):
    """A file that could not be read, and why."""

    name: str
    reason: str


class ImageSource:
    """An image file, or all image files in a folder and its subfolders, in order of name.

    A file that was given by itself must be readable. In a folder, one broken file does not lose the others: it is left out and
    named in ``skipped``.

    Attributes:
        root: the folder that names are relative to.
        skipped: files that could not be read, as far as the source has been iterated.
    """

    def __init__(self, path: str | Path) -> None:
        """Look the files up.

        Raises:
            UserError: there is no such file or folder, or no image in the folder.
        """
        path = Path(path).expanduser()
        if not path.exists():
            raise UserError(f"there is no image or folder {path}")
        self.tolerant = path.is_dir()
        self.root = path if self.tolerant else path.parent
        self.files = sorted(find_images(path)) if self.tolerant else [path]
        self.skipped: list[Skipped] = []
        if not self.files:
            raise UserError(f"there are no images in {path} (files named {', '.join(sorted(SUFFIXES))})")

    def __len__(self) -> int:
        """Return the number of files, broken ones included."""
        return len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the readable ones.

        Raises:
            UserError: the file that was given by itself cannot be read.
        """
        self.skipped.clear()
        for file in self.files:
            name = file.relative_to(self.root).as_posix()
            try:
                image = load_image(file)
            except UserError as error:
                if not self.tolerant:
                    raise
                self.skipped.append(Skipped(name, str(error)))
                continue
            yield Frame(name, image)


def find_images(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, by suffix; hidden ones are left out."""
    return [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
