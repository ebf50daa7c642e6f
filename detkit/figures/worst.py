"""Contact sheets of the images where most is missed, or most is found that is not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from detkit.drawing import caption, draw_boxes, fit, legend, sheet
from detkit.errors import UserError
from detkit.evaluation.diagnosis import FALSE, MISSED, RIGHT, JudgedImage
from detkit.figures.canvas import shortened
from detkit.figures.tables import numbers, read_table, write_table

COLORS = {MISSED: (240, 160, 30), FALSE: (225, 50, 50), RIGHT: (60, 175, 80)}
HEADER = ("image", "verdict", "class", "confidence", "left", "top", "right", "bottom")
SIDE = 360
"""Pixels of the longer side of an image on a sheet."""

ReadImage = Callable[[str], np.ndarray]
"""Takes the file name of an image and returns it as (H, W, 3) uint8 RGB, or raises a `UserError`."""


def write_worst(file: Path, images: Sequence[JudgedImage]) -> None:
    """Write a row a box."""
    rows: list[tuple[object, ...]] = []
    for image in images:
        boxes = zip(image.verdicts, image.classes, image.scores.tolist(), image.boxes.tolist(), strict=True)
        rows += [(image.file, verdict, name, score, *box) for verdict, name, score, box in boxes]
    write_table(file, HEADER, rows)


def draw_worst(file: Path, read_image: ReadImage) -> np.ndarray | None:
    """Return the sheet of a file; None where it names no image, or none that can be read."""
    tiles = []
    for name, rows in groupby(read_table(file)[1], key=lambda row: row[0]):
        try:
            image = read_image(name)
        except UserError:
            continue  # it broke or moved since
        tiles.append(_tile(image, name, list(rows)))
    if not tiles:
        return None
    page = sheet(tiles, columns=min(4, len(tiles)))
    return np.concatenate([legend(COLORS, page.shape[1]), page])


def _tile(image: np.ndarray, name: str, rows: Sequence[Sequence[str]]) -> np.ndarray:
    shown, scale = fit(image, SIDE)
    boxes = np.array([numbers(row[4:]) for row in rows]) * scale
    verdicts = [row[1] for row in rows]
    picture = draw_boxes(shown, boxes, [_text(*row[1:4]) for row in rows], [COLORS[verdict] for verdict in verdicts])
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in COLORS)
    file = Path(name).name.encode("utf-8", "replace").decode()
    return caption(picture, f"{counts}  {file}")


def _text(verdict: str, name: str, confidence: str) -> str:
    """Return what is written on a box; nothing on what is right, so that what is wrong can be read."""
    if verdict == RIGHT:
        return ""
    return f"{shortened(name)} {float(confidence):.2f}" if confidence else shortened(name)
