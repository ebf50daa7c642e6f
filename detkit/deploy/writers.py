"""What is kept of predictions: annotated pictures or a video, JSON, CSV, YOLO's text files.

A writer makes its file at the first frame, so that nothing is left behind where nothing was found to read, and ends it
when it is closed: what was done before an interruption is kept, whole.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import cv2

from detkit.deploy.folder import OutputFolder
from detkit.deploy.found import Found
from detkit.deploy.sources import Frame, ImageSource, Source, is_text
from detkit.drawing import save_picture
from detkit.errors import UserError
from detkit.spec import suggestion

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
"""Formats that annotated pictures keep; others become JPEG."""
KINDS = ("pictures", "json", "csv", "txt")
"""What can be kept; pictures of a video's frames are a video."""


class Writer(Protocol):
    """Keeps frames and their objects.

    Attributes:
        label: what it writes, in a word.
        path: the file, or the folder of files.
    """

    label: str
    path: Path

    def write(self, frame: Frame, found: Found) -> None:
        """Keep the objects of a frame."""

    def close(self) -> None:
        """End the file."""


def open_writers(kinds: Sequence[str], source: Source, output: Path) -> list[Writer]:
    """Return a writer for each of ``kinds`` (of `KINDS`), into the folder ``output``.

    Raises:
        UserError: a kind that does not exist, or a file of the user's in the way, as far as that is known beforehand.
    """
    folder = OutputFolder(output)
    writers: list[Writer] = []
    for kind in dict.fromkeys(kinds):
        if kind == "pictures":
            writers.append(PictureWriter(folder) if source.fps is None else VideoWriter(folder, source.fps))
        elif kind == "json":
            writers.append(JSONWriter(folder, "predictions.json"))
        elif kind == "csv":
            writers.append(CSVWriter(folder, "predictions.csv"))
        elif kind == "txt":
            writers.append(TextWriter(folder, "labels"))
        else:
            raise UserError(f"predictions cannot be saved as '{kind}'{suggestion(kind, KINDS)}")
    for path in (path for writer in writers for path in _foreseen(writer, source)):
        folder.check(path)
    return writers


def _foreseen(writer: Writer, source: Source) -> Iterator[Path]:
    """Yield the files that a writer will write, and any labels that its own would be mixed with."""
    if isinstance(writer, TextWriter):
        yield from writer.path.rglob("*.txt")
    elif isinstance(writer, _FileWriter):
        yield writer.path
    elif isinstance(writer, PictureWriter) and isinstance(source, ImageSource):
        yield from map(writer.place, source.names())


class PictureWriter:
    """An annotated picture for each image, under the image's name, with subfolders."""

    label = "pictures"

    def __init__(self, folder: OutputFolder) -> None:
        self.path = folder.path
        self._folder = folder

    def write(self, frame: Frame, found: Found) -> None:
        """Draw the objects."""
        save_picture(self._folder.claim(self.place(frame.name)), found.draw(frame.image))

    def place(self, name: str) -> Path:
        """Return the file for an image."""
        path = self.path / name
        return path if path.suffix.lower() in PICTURES else path.with_name(path.name + ".jpg")

    def close(self) -> None:
        """Pictures are whole already."""


class VideoWriter:
    """An annotated mp4 of the speed and size of the video it comes from (MPEG-4 makes odd sizes even)."""

    label = "video"

    def __init__(self, folder: OutputFolder, fps: float) -> None:
        self.path = folder.path
        self._folder, self._fps = folder, fps
        self._size = (0, 0)
        self._video: cv2.VideoWriter | None = None

    def write(self, frame: Frame, found: Found) -> None:
        """Append an annotated frame; one of another size, which streams may have, is brought to that of the first.

        Raises:
            UserError: the file cannot be written.
        """
        picture = cv2.cvtColor(found.draw(frame.image), cv2.COLOR_RGB2BGR)
        if self._video is None:
            self._video = self._open(frame)
        if picture.shape[1::-1] != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._video.write(picture)

    def close(self) -> None:
        """Write the index, without which players cannot read the file."""
        if self._video is not None:
            self._video.release()

    def _open(self, frame: Frame) -> cv2.VideoWriter:
        self.path = self._folder.claim((self._folder.path / frame.name).with_suffix(".mp4"))
        self._size = (frame.image.shape[1], frame.image.shape[0])
        if not is_text(str(self.path)):
            raise UserError(f"the video {self.path} cannot get a name that is not in UTF-8; give another --output")
        video = cv2.VideoWriter(str(self.path), cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size)
        if not video.isOpened():
            raise UserError(f"cannot write the video {self.path}; give another --output, or leave pictures out of --save")
        return video


class _FileWriter:
    """A text file that is opened at the first frame; bytes of file names that are not UTF-8 are spelled out."""

    label = "results"

    def __init__(self, folder: OutputFolder, name: str) -> None:
        self.path = folder.path / name
        self._folder = folder
        self._file: TextIO | None = None

    def _opened(self) -> tuple[TextIO, bool]:
        """Return the file, and whether this is the first time."""
        if self._file is not None:
            return self._file, False
        path = self._folder.claim(self.path)
        self._file = path.open("w", encoding="utf-8", newline="", errors="backslashreplace")
        return self._file, True

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()


class JSONWriter(_FileWriter):
    """A list with a line for each frame; see `record`."""

    def write(self, frame: Frame, found: Found) -> None:
        """Append a record."""
        file, first = self._opened()
        file.write(("[\n" if first else ",\n") + json.dumps(record(frame, found), ensure_ascii=False))

    def close(self) -> None:
        """End the list."""
        if self._file is not None:
            self._file.write("\n]\n")
        super().close()


class CSVWriter(_FileWriter):
    """A table with a row for each object."""

    label = "table"
    columns = ("file", "frame", "width", "height", "label", "name", "score", "x1", "y1", "x2", "y2")

    def write(self, frame: Frame, found: Found) -> None:
        """Append the objects of a frame; ``frame`` is empty for image files."""
        file, first = self._opened()
        table = csv.writer(file)
        if first:
            table.writerow(self.columns)
        content = record(frame, found)
        start = [frame.name, content.get("frame", ""), content["width"], content["height"]]
        for item in content["detections"]:
            table.writerow([*start, item["label"], item["name"], item["score"], *item["box"]])


class TextWriter:
    """YOLO's format: for each image a file of rows ``class x y width height score``, centre and size as shares of the image.

    An image without objects gets an empty file. Class names are in ``classes.txt``. A video's frames are numbered; of two
    images that differ in their suffix alone, the second keeps it: ``a.txt``, ``a.png.txt``.
    """

    label = "labels"

    def __init__(self, folder: OutputFolder, name: str) -> None:
        self.path = folder.path / name
        self._folder = folder
        self._taken: set[Path] = set()

    def write(self, frame: Frame, found: Found) -> None:
        """Write the file of a frame."""
        if not self._taken:
            names = "".join(f"{name}\n" for name in found.names)
            self._folder.claim(self.path / "classes.txt").write_text(names, encoding="utf-8")
        path = self._folder.claim(self._place(frame))
        height, width = frame.image.shape[:2]
        lines = []
        for item in found.to_dicts():
            x1, y1, x2, y2 = item["box"]
            shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{item['label']} {' '.join(f'{value:.6f}' for value in (*shares, item['score']))}\n")
        path.write_text("".join(lines), encoding="utf-8")

    def close(self) -> None:
        """Files are whole already."""

    def _place(self, frame: Frame) -> Path:
        """Return a file that no other frame has."""
        image = self.path / frame.name
        number = "" if frame.number is None else f"_{frame.number:06}"
        path = image.with_name(f"{image.stem}{number}.txt")
        if path in self._taken or path.name == "classes.txt":
            path = image.with_name(f"{image.name}{number}.txt")
        self._taken.add(path)
        return path


def record(frame: Frame, found: Found) -> dict[str, Any]:
    """Return the objects of a frame as plain data: what is written as JSON. Boxes are rounded to 0.01 pixels."""
    height, width = frame.image.shape[:2]
    number = {} if frame.number is None else {"frame": frame.number}
    objects = [
        item | {"box": [round(value, 2) for value in item["box"]], "score": round(item["score"], 4)}
        for item in found.to_dicts()
    ]
    return {"file": frame.name, **number, "width": width, "height": height, "detections": objects}
