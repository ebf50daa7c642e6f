"""Which part of a photograph is shown: zoom-out and crop only choose a view, and nothing is resampled for them.

A view is left, top, right, bottom in the photograph's pixels, and may reach out of it.
"""

from __future__ import annotations

import numpy as np

from detkit.data.augment import Augment
from detkit.data.collage import NINE

LARGEST_CANVAS = 4.0
"""Sides of the canvas that zoom-out puts a photograph on, at most."""
OVERLAPS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
"""Least overlaps that a crop is drawn for; 1 leaves the photograph whole."""
SMALLEST_CROP = 0.3
"""Share of each side that a crop keeps, at least."""
WIDEST_CROP = 2.0
"""Aspect of a crop, at most, lying or standing."""
TRIALS = 40
"""Crops that are tried for an overlap before another one is drawn."""


def zoom_out(view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a view up to four times as wide and high, with the present one anywhere in it."""
    extent = view[2:] - view[:2]
    wider = extent * rng.uniform(1, LARGEST_CANVAS)
    low = view[:2] - (wider - extent) * rng.random(2)
    return np.concatenate([low, low + wider])


def crop(view: np.ndarray, boxes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a random part of the view that overlaps with a box as much as a random threshold asks for.

    SSD's sampling (Liu et al., 2016, arXiv:1512.02325) with the constants of torchvision and RT-DETR: the overlap is the IoU of
    the crop and a box whose centre it holds.

    Args:
        view: left, top, right, bottom; returned as it is where the draw says so, or there is no box.
        boxes: (N, 4) xyxy in the same pixels.
        rng: source of all randomness.
    """
    extent = view[2:] - view[:2]
    while len(boxes):
        least = rng.choice(OVERLAPS)
        if least == 1:
            break
        sides = rng.uniform(SMALLEST_CROP, 1, (TRIALS, 2))
        corners = rng.random((TRIALS, 2)) * (1 - sides)
        crops = np.concatenate([corners, corners + sides], axis=1) * np.tile(extent, 2) + np.tile(view[:2], 2)
        pixels = sides * extent
        fits = (pixels.max(1) <= WIDEST_CROP * pixels.min(1)) & (_overlap(crops, boxes) >= least)
        if fits.any():
            return crops[fits.argmax()]
    return view


def holds_centres(view: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return which of the boxes (..., 4) xyxy have their centres in the view or views (..., 4)."""
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    return ((view[..., :2] < centres) & (centres < view[..., 2:])).all(-1)


def zooms(augment: Augment) -> tuple[float, float]:
    """Return the least and the largest factor by which photographs are zoomed, beyond fitting into the input."""
    least = (1 - augment.scale) * min(1 / LARGEST_CANVAS if augment.zoom_out else 1, NINE if augment.mosaic_tiles == 9 else 1)
    return least, (1 + augment.scale) / (SMALLEST_CROP if augment.crop else 1)


def _overlap(crops: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the largest IoU (T,) of each crop (T, 4) with a box (N, 4) whose centre it holds; -1 where it holds none."""
    one, other = crops[:, None], boxes[None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = sides.clip(0).prod(-1)
    areas = (one[..., 2:] - one[..., :2]).prod(-1) + (other[..., 2:] - other[..., :2]).prod(-1)
    iou = shared / np.maximum(areas - shared, 1e-9)
    return np.where(holds_centres(one, other), iou, -1).max(1)
