"""Prediction on large images: the network sees tiles at full resolution, and the whole image for what no tile holds.

Tiles overlap, so that an object up to the overlap's size is whole in one of them. What is seen several times is merged:
a piece that a tile's border cut off goes where a larger box of its class covers it, then non-maximum suppression by class
decides among all views. After the idea of SAHI (Akyon et al., 2022, arXiv:2202.06934).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from detkit.boxes import area, overlap
from detkit.deploy.found import Found
from detkit.deploy.predictor import Predictor
from detkit.deploy.sources import Frame
from detkit.detectors.suppress import survivors
from detkit.errors import UserError

MERGE_IOU = 0.5
"""Most overlap of two boxes of a class after merging: two views of one object agree less than two cells of one view."""
BORDER = 4
"""A box that ends within so many pixels of a tile's inner border was cut there."""
COVERED = 0.8
"""Share of a cut box that lies in a larger one where it is a piece of that."""
SMALLEST = 32
"""Pixels of a tile's side."""
CHUNK = 256
"""Cut boxes that are compared at a time, to bound the memory."""


class Window(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    right: int
    bottom: int


class TiledPredictor(Predictor):
    """A predictor for images that are much larger than the network's input; takes one image at a time."""

    def __init__(self, *arguments: Any, tiles: int = 640, overlap: float = 0.2, **options: Any) -> None:
        """Take a detector.

        Args:
            arguments: as for `Predictor`.
            tiles: side of a tile in pixels of the image; it is resized to the network's input where that differs. An image
                that fits in one tile is predicted on as by `Predictor`.
            overlap: least share of a tile's side that it has in common with its neighbour.
            options: as for `Predictor`; ``limit`` counts in each tile and in the image, ``batch`` counts tiles.

        Raises:
            UserError: a number out of its range, or what `Predictor` raises.
        """
        if tiles < SMALLEST:
            raise UserError(f"tiles is the side of a tile, {SMALLEST} pixels at least, not {tiles}; write 640")
        if not 0 <= overlap < 1:
            raise UserError(f"overlap is a share of a tile, at least 0 and below 1, not {overlap:g}; write 0.2")
        super().__init__(*arguments, **options)
        self.tiles, self.overlap = tiles, overlap

    def stream(self, frames: Iterable[Frame], batch: int | None = None) -> Iterator[tuple[Frame, Found]]:
        """Yield each frame with its objects.

        Args:
            frames: any source.
            batch: tiles that go through the network together; None for the predictor's own.
        """
        for frame in frames:
            yield frame, self._whole_and_tiles(frame.image, batch or self.batch)

    def _whole_and_tiles(self, image: np.ndarray, batch: int) -> Found:
        height, width = image.shape[:2]
        whole, parts = Window(0, 0, width, height), windows(height, width, self.tiles, self.overlap)
        views = [whole, *parts] if len(parts) > 1 else [whole]
        found: list[Found] = []
        for start in range(0, len(views), batch):
            found += self._detect(
                [image[view.top : view.bottom, view.left : view.right] for view in views[start : start + batch]]
            )
        return merge(found, views, min(self.iou, MERGE_IOU), self.limit)


def windows(height: int, width: int, side: int, overlap: float) -> list[Window]:
    """Return the tiles of an image, row by row; they end with the image and are spread evenly.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        side: of a tile in pixels; the image's own where that is smaller.
        overlap: least share of a tile's side that it has in common with its neighbour.
    """
    return [
        Window(left, top, min(left + side, width), min(top + side, height))
        for top in _starts(height, side, overlap)
        for left in _starts(width, side, overlap)
    ]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    room = length - side
    if room <= 0:
        return [0]
    step = max(1, int(side * (1 - overlap)))
    count = -(-room // step)
    return [index * room // count for index in range(count + 1)]


def merge(found: Sequence[Found], views: Sequence[Window], iou: float, limit: int) -> Found:
    """Return the objects of an image from those of its parts, in the image's pixels, best first.

    Args:
        found: of each view, in the view's pixels.
        views: the first is the whole image.
        iou: boxes of one class that overlap a better one by more are dropped.
        limit: most objects.
    """
    if len(found) == 1:
        return found[0]
    moved = [item.boxes + item.boxes.new_tensor([*view[:2], *view[:2]]) for item, view in zip(found, views, strict=True)]
    cut = torch.cat([_cut(boxes, view, views[0]) for boxes, view in zip(moved, views, strict=True)])
    extras = {name: torch.cat([item.extras[name] for item in found]) for name in found[0].extras}
    scores, labels = torch.cat([item.scores for item in found]), torch.cat([item.labels for item in found])
    everything = Found(torch.cat(moved), scores, labels, found[0].names, extras)
    rest = everything[~_pieces(everything.boxes, labels, cut)]
    return rest[survivors(rest.boxes, rest.scores, rest.labels, iou, limit)]


def _cut(boxes: Tensor, view: Window, whole: Window) -> Tensor:
    """Return which boxes (N,) bool end at a border of the view that is none of the image."""
    borders = boxes.new_tensor(view)
    inner = borders != borders.new_tensor(whole)
    return (((boxes - borders).abs() <= BORDER) & inner).any(1)


def _pieces(boxes: Tensor, labels: Tensor, cut: Tensor) -> Tensor:
    """Return which boxes (N,) bool are cut and covered by a larger one of their class."""
    pieces, areas = torch.zeros_like(cut), area(boxes)
    for rows in cut.nonzero()[:, 0].split(CHUNK):
        shared, _ = overlap(boxes[rows, None], boxes)
        own = areas[rows, None]
        pieces[rows] = ((shared >= COVERED * own) & (areas > own) & (labels[rows, None] == labels)).any(1)
    return pieces
