"""Training images from one, four or nine photographs, each resampled once, straight into its place.

Letterbox, zoom, shift, crop and mosaic are one scale and offset for each photograph (a `Tile`). Only what is seen of a
photograph is resized, into its part of the input; what is not seen need not be decoded. The classic way (resize, paste into a
canvas of four times the size, warp, crop) resamples twice and computes mostly what is thrown away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from detkit.structures import Sample

MIN_SIDE = 2.0
"""Pixels; boxes with a shorter side are dropped after augmentation."""
MIN_VISIBLE = 0.1
"""Boxes of which a smaller share of the area is left in the picture are dropped after augmentation."""
NINE = 2 / 3
"""Size of the photographs of a mosaic of nine, where those of four have size 1: as many fill the same canvas."""
CELLS = ((1, 1), (0, 0), (1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2), (2, 2))
"""Column and row of each photograph of a mosaic of nine."""


class Tile(NamedTuple):
    """Where a photograph goes: input = photograph * scale + offset, seen only within ``region``.

    Attributes:
        scale: x and y.
        offset: x and y, pixels of the input.
        region: left, top, right, bottom, whole pixels of the input.
    """

    scale: np.ndarray
    offset: np.ndarray
    region: np.ndarray

    def seen(self, size: tuple[int, int]) -> np.ndarray | None:
        """Return the part of the input (left, top, right, bottom) that a photograph of (height, width) fills, if any."""
        corners = np.stack([self.offset, self.offset + self.scale * size[::-1]])
        low = np.maximum(np.rint(corners[0]).astype(np.int64), self.region[:2])
        high = np.minimum(np.rint(corners[1]).astype(np.int64), self.region[2:])
        return np.concatenate([low, high]) if (low < high).all() else None


def base_scale(size: tuple[int, int], shape: tuple[int, int], resize: str) -> np.ndarray:
    """Return the (x, y) factors that fit a photograph of (height, width) ``size`` into an input of ``shape``."""
    factors = np.array([shape[1] / size[1], shape[0] / size[0]])
    return np.full(2, factors.min()) if resize == "letterbox" else factors


def whole(size: tuple[int, int]) -> np.ndarray:
    """Return the view (left, top, right, bottom) that shows a photograph of (height, width) ``size`` exactly."""
    return np.array([0, 0, size[1], size[0]])


def one_tile(view: np.ndarray, scale: np.ndarray, centre: np.ndarray, shape: tuple[int, int]) -> Tile:
    """Return the tile of a single photograph.

    Args:
        view: left, top, right, bottom of what is shown, in the photograph's pixels; may reach out of it.
        scale: x and y, from the photograph's to the input's pixels.
        centre: x and y in the input of the middle of the view.
        shape: the input's (height, width).
    """
    extent = view[2:] - view[:2]
    low = centre - scale * extent / 2
    region = np.rint(np.concatenate([low, low + scale * extent])).astype(np.int64)
    return Tile(scale, low - scale * view[:2], region.clip(0, np.tile(shape[::-1], 2)))


def four_tiles(
    sizes: Sequence[tuple[int, int]], scales: Sequence[np.ndarray], meeting: np.ndarray, shape: tuple[int, int]
) -> list[Tile]:
    """Return the tiles of four photographs that meet, corner to corner, at ``meeting`` (x, y), perhaps out of the input."""
    point = np.rint(meeting).astype(np.int64)
    height, width = shape
    x, y = point.clip(0, (width, height))
    regions = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
    inward = [(1, 1), (0, 1), (1, 0), (0, 0)]  # the share of its own size by which each lies left of and above the point
    return [
        Tile(scale, point - scale * size[::-1] * np.array(share), np.array(region))
        for size, scale, share, region in zip(sizes, scales, inward, regions, strict=True)
    ]


def nine_tiles(
    sizes: Sequence[tuple[int, int]], scales: Sequence[np.ndarray], centre: np.ndarray, shape: tuple[int, int]
) -> list[Tile]:
    """Return the tiles of nine photographs: the first around ``centre`` (x, y), the others edge to edge around it."""
    extents = [scale * size[::-1] for size, scale in zip(sizes, scales, strict=True)]
    low = np.rint(centre - extents[0] / 2).astype(np.int64)
    lines = np.stack(
        [low, low + np.rint(extents[0]).astype(np.int64)]
    )  # the sides of the first: left and top, right and bottom
    limits = np.array(shape[::-1])
    borders = np.stack([0 * limits, lines[0].clip(0, limits), lines[1].clip(0, limits), limits])
    tiles = []
    for cell, scale, extent in zip(CELLS, scales, extents, strict=True):
        place = np.array(cell)  # column and row: 0 ends at the first's side, 1 is in line with it, 2 starts at its other side
        offset = np.choose(place, [lines[0] - extent, lines.mean(0) - extent / 2, lines[1]])
        region = np.concatenate([borders[place, (0, 1)], borders[place + 1, (0, 1)]])
        tiles.append(Tile(scale, offset, region))
    return tiles


def place(canvas: np.ndarray, photo: Sample, tile: Tile, seen: np.ndarray) -> Sample:
    """Draw a photograph into its part of the input; return its boxes there, clipped, without those hardly seen.

    Args:
        canvas: (H, W, 3) uint8 input, drawn into.
        photo: the photograph, perhaps decoded at a fraction of its size.
        tile: where it goes.
        seen: ``tile.seen(photo.size)``.
    """
    decoded, wanted = np.array(photo.image.shape[1::-1]), tile.scale / photo.scale
    low = np.rint((seen[:2] - tile.offset) / wanted).astype(np.int64).clip(0, decoded - 1)
    high = np.rint((seen[2:] - tile.offset) / wanted).astype(np.int64).clip(low + 1, decoded)
    left, top, right, bottom = seen
    source = photo.image[low[1] : high[1], low[0] : high[0]]
    cv2.resize(source, (int(right - left), int(bottom - top)), dst=canvas[top:bottom, left:right])
    scale = (seen[2:] - seen[:2]) / (high - low)  # as drawn: both ends are whole pixels
    offset = seen[:2] - low * scale
    moved = photo.boxes * np.tile(scale, 2) + np.tile(offset, 2)
    return cut(replace(photo, image=canvas), moved, seen)


def cut(sample: Sample, boxes: np.ndarray, window: np.ndarray) -> Sample:
    """Return the sample with new boxes, clipped to a window (left, top, right, bottom), without those hardly seen in it."""
    clipped = boxes.clip(np.tile(window[:2], 2), np.tile(window[2:], 2))
    sides, before = clipped[:, 2:] - clipped[:, :2], boxes[:, 2:] - boxes[:, :2]
    keep = (sides >= MIN_SIDE).all(1) & (sides.prod(1) >= MIN_VISIBLE * before.prod(1))
    return replace(sample, boxes=clipped.astype(np.float32)).select(keep)


def join(canvas: np.ndarray, placed: Sequence[Sample], image_id: int) -> Sample:
    """Return the input with the boxes of all that was placed in it; it is its own original, there being no one way back."""
    if not placed:
        return Sample(canvas, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), image_id, canvas.shape[:2])
    return Sample(
        canvas,
        np.concatenate([photo.boxes for photo in placed]),
        np.concatenate([photo.labels for photo in placed]),
        image_id,
        canvas.shape[:2],
        fields={name: np.concatenate([photo.fields[name] for photo in placed]) for name in placed[0].fields},
    )
