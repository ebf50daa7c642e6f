"""Copying the images of a data set into folders of another."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from tqdm import tqdm

from detkit.data.annotations import Annotations
from detkit.data.files import SUFFIXES, read_header
from detkit.data.raw import Tally
from detkit.errors import UserError


class Copier:
    """Copies or links images, under names that differ by more than suffix and case.

    Label files are found by the name of their image without its suffix, so that ``a/1.jpg``, ``b/1.jpg`` and ``1.PNG`` need
    three names in one folder.

    Args:
        link: make hard links, which take no room.
    """

    def __init__(self, link: bool) -> None:
        self._link = link
        self._sources: dict[Path, str] = {}
        self.tally = Tally()

    def copy(self, annotations: Annotations, folder: Path, shown: bool = False) -> list[str]:
        """Copy a split's images to ``folder`` and return their names there; what this folder has of them already is shared.

        Args:
            annotations: the split.
            folder: where to.
            shown: what is written beside will be taken to be of the picture as its orientation tag turns it. Images annotated
                as they are stored are then written anew, without that tag. Else those annotated as they are shown are written
                anew, turned.
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths: Sequence[str] = annotations.paths
        names = []
        for index, source in enumerate(tqdm(paths, "copying images", unit="image", delay=2, disable=None)):
            target = self._target(folder, source)
            if self._sources.get(_key(target)) != source:
                self._sources[_key(target)] = source
                self._place(source, target, annotations.size(index), (annotations.upright, shown))
            names.append(target.name)
        return names

    def _target(self, folder: Path, source: str) -> Path:
        """Return a free name, or the one that this image has already."""
        path = Path(source)
        if path.suffix.lower() not in SUFFIXES:
            raise UserError(
                f"the image {source} would not be found again by its suffix; rename it to one of {', '.join(sorted(SUFFIXES))}"
            )
        target, number = folder / path.name, 1
        while self._sources.get(_key(target), source) != source:
            number += 1
            target = folder / f"{path.stem}_{number}{path.suffix}"
        if number > 1 and _key(target) not in self._sources:
            self.tally.add("images renamed, as their names clash", f"{source} to {target.name}")
        return target

    def _place(self, source: str, target: Path, size: tuple[int, int], upright: tuple[bool, bool]) -> None:
        """Copy an image whose boxes are of the ``upright`` picture or the stored one, before and after."""
        if upright == (False, True):
            header = read_header(source)
            if header.orientation != 1 and header.size == size:
                self.tally.add("images written anew without orientation tag, as their boxes ignore it", source)
                _write_stored(source, target)
                return
        if upright == (True, False) and read_header(source).orientation != 1:
            self.tally.add("images written anew, turned as their orientation tag says", source)
            _write_upright(source, target)
            return
        if not self._link:
            shutil.copyfile(source, target)
            return
        try:
            os.link(os.path.realpath(source), target)
        except OSError as error:
            raise UserError(f"{source} cannot be linked ({error.strerror}); leave out --link to copy it") from None


def _key(target: Path) -> Path:
    return target.parent / target.stem.lower()


def _write_stored(source: str, target: Path) -> None:
    """Write an image's stored pixels without its tags; a JPEG keeps its quality."""
    with Image.open(source) as image:
        quality = {"quality": "keep"} if image.format == "JPEG" else {}
        image.save(target, image.format, exif=b"", **quality)


def _write_upright(source: str, target: Path) -> None:
    """Write an image turned upright, without its tags."""
    with Image.open(source) as image:
        kinds: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
        ImageOps.exif_transpose(image).save(target, image.format, exif=b"", **kinds.get(image.format or "", {}))
