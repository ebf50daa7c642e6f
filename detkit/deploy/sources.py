"""Where pictures to predict on come from: image files, video files, cameras and network streams, as iterables of frames."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from detkit.data.files import SUFFIXES, images_below, is_image
from detkit.data.images import load_image
from detkit.errors import UserError

VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts", ".gif"})
"""Files that are opened as a video."""
FPS = 30.0
"""Frames a second where a camera or stream does not say."""
ENOUGH = 0.95
"""Share of a video's frames that must be there; how many there should be is an estimate in some formats."""


class Frame(NamedTuple):
    """A picture and what it is called.

    Attributes:
        name: path relative to the folder that was given, with ``/``; the file's name where a file was given.
        image: (H, W, 3) uint8 RGB, upright.
        number: of a video's frame, from 0; None for an image file.
    """

    name: str
    image: np.ndarray
    number: int | None = None


class Skipped(NamedTuple):
    """A file that could not be read, or a video not to its end, and why."""

    name: str
    reason: str


class Source(Protocol):
    """An iterable of frames.

    Attributes:
        root: the folder that it reads; None where it reads none.
        total: frames, broken ones included; None where nobody knows.
        fps: frames a second of a video or stream; None for image files.
        live: frames come as they happen, without an end.
        skipped: files that could not be read, or not to their end, as far as the source has been iterated.
    """

    root: Path | None
    total: int | None
    fps: float | None
    live: bool
    skipped: list[Skipped]

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames."""


def open_source(*texts: str | Path) -> Source:
    """Open what a user wrote: images, a folder, a pattern, a video file, a camera's number, or the URL of a stream.

    Args:
        texts: ``photo.jpg``, ``photos/``, ``'photos/**/*.jpg'``, ``clip.mp4``, ``0``, ``rtsp://host/stream``; several where
            all are images, folders or patterns. A folder that is called 0 is written ``./0``.

    Raises:
        UserError: there is no such thing, or it cannot be opened; says what to write.
    """
    videos = [text for text in texts if _is_video(text)]
    if not videos:
        return ImageSource(*texts)
    if len(texts) > 1:
        raise UserError(f"a video, camera or stream is opened by itself; give {videos[0]} alone")
    return VideoSource(videos[0])


def _is_video(text: str | Path) -> bool:
    path = _absolute(str(text))
    named = isinstance(text, str) and (text.isdecimal() or "://" in text)
    return named or (path.suffix.lower() in VIDEOS and not path.is_dir())


class ImageSource:
    """Image files: named one by one, found in folders and their subfolders, or by patterns; in order of name.

    One file that is given by itself must be readable. Among several, one broken file does not lose the others: it is left
    out and named in ``skipped``.

    Attributes:
        root: the folder that names are relative to.
        files: absolute paths.
    """

    fps: float | None = None
    live: bool = False

    def __init__(self, *texts: str | Path) -> None:
        """Look the files up.

        Raises:
            UserError: there is no such file or folder, or no image in the folder.
        """
        files = {file for text in texts for file in _files(str(text))}
        self.files = sorted(files)
        given = _absolute(str(texts[0]))
        self.root: Path | None = given if len(texts) == 1 and given.is_dir() else _common_folder(self.files)
        self.tolerant = [given] != self.files
        self.total: int | None = len(files)
        self.skipped: list[Skipped] = []

    def __iter__(self) -> Iterator[Frame]:
        """Yield the readable ones.

        Raises:
            UserError: the file that was given by itself cannot be read.
        """
        self.skipped.clear()
        for file, name in zip(self.files, self.names(), strict=True):
            try:
                image = load_image(file)
            except UserError as error:
                if not self.tolerant:
                    raise
                self.skipped.append(Skipped(name, str(error)))
                continue
            yield Frame(name, image)

    def names(self) -> list[str]:
        """Return what the images are called, readable or not."""
        return [file.relative_to(self.root or "").as_posix() for file in self.files]


class VideoSource:
    """The frames of a video file, a camera (given by its number) or a network stream (by its URL)."""

    def __init__(self, text: str | Path) -> None:
        """Open it.

        Raises:
            UserError: it cannot be opened.
        """
        self._text = str(text)
        if not is_text(self._text):
            raise UserError(f"the video {self._text} has a name that is not in UTF-8; rename it")
        path = Path(_home(self._text))
        camera, url = self._text.isdecimal(), "://" in self._text
        if not (camera or url) and not path.is_file():
            raise UserError(f"there is no video {path}")
        self._target = int(self._text) if camera else self._text if url else str(path)
        self.name = f"camera{self._text}" if camera else "stream" if url else path.name
        self.live = camera or url
        self.root: Path | None = None if self.live else path.absolute().parent
        self.skipped: list[Skipped] = []
        self._opened: cv2.VideoCapture | None = self._open()
        fps, count = (self._opened.get(key) for key in (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT))
        self.fps: float | None = fps if 0 < fps < 1000 else FPS
        self.total: int | None = int(count) if count > 0 and not self.live else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames to the end of the file, or to where it is damaged; of a camera or stream until it is cut off.

        Raises:
            UserError: there is no frame that can be read.
        """
        self.skipped.clear()
        capture, self._opened = self._opened or self._open(), None
        number = 0
        try:
            while True:
                more, image = capture.read()
                if not more:
                    break
                yield Frame(self.name, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), number)
                number += 1
        finally:
            capture.release()
        if not number:
            raise UserError(f"{self._text} was opened, but has no frame that can be read")
        if self.total is not None and number < ENOUGH * self.total:
            reason = f"stopped at frame {number} of about {self.total}; the file is damaged or cut short there"
            self.skipped.append(Skipped(self.name, reason))

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._target)
        if capture.isOpened():
            return capture
        if isinstance(self._target, int):
            raise UserError(
                f"there is no camera {self._text}, or another program uses it; for a folder of this name write ./{self._text}"
            )
        if self.live:
            raise UserError(
                f"the stream {self._text} cannot be opened; check that it plays elsewhere, and user and password in it"
            )
        raise UserError(f"the video {self._text} is cut short or in no format that can be read; convert it to mp4")


def is_text(name: str) -> bool:
    """Say whether a file name is text: those that are not UTF-8 crash OpenCV."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _files(text: str) -> list[Path]:
    """Return the image files, as absolute paths, that a path or a pattern names."""
    path = _absolute(text)
    if path.is_file():
        return [path]
    if path.is_dir():
        files = [file for file in images_below(path) if file.is_file()]
    elif glob.has_magic(text):
        found = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207
        files = [match for match in found if is_image(match.name) and match.is_file()]
    else:
        raise UserError(f"there is no image or folder {text}")
    if not files:
        raise UserError(f"there are no images in {text} (files named {', '.join(sorted(SUFFIXES))})")
    return files


def _absolute(text: str) -> Path:
    """Return the path from the root, without ``..``; links are kept, as their names are what the user knows."""
    return Path(os.path.abspath(_home(text)))  # noqa: PTH100


def _home(text: str) -> str:
    """Return the path with ``~`` replaced by the home folder; ``~photo.jpg``, which names no user, stays."""
    return os.path.expanduser(text)  # noqa: PTH111


def _common_folder(files: list[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files]))
