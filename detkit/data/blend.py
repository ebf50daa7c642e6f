"""One input from two finished ones of the same size: mixup and copy-paste; the boxes of the second follow the first's."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from detkit.data.collage import join
from detkit.structures import Sample

WEIGHTS = (0.45, 0.55)
"""Share of the first input in mixup: both keep all their boxes, so that neither may fade."""
HIDDEN = 0.3
"""A pasted box and one that is there may share this much of the smaller one's area."""
PASTED = 0.5
"""Share of an image's objects that are pasted into another."""
TRIALS = 10
"""Places that are tried for each."""


def mix(one: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """Return two inputs blended, with the boxes of both (mixup: Zhang et al., 2018, 2019, arXiv:1710.09412, 1902.04103)."""
    weight = rng.uniform(*WEIGHTS)
    return join(cv2.addWeighted(one.image, weight, other.image, 1 - weight, 0), [one, other], one.image_id)


def paste(one: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """Return ``one`` with about half of the boxes of ``other`` copied over it, each to a random place where it hides little.

    Copy-paste (Ghiasi et al., 2021, arXiv:2012.07177) of boxes, for data without masks.
    """
    image, taken, pasted = one.image.copy(), one.boxes, []
    for index in np.flatnonzero(rng.random(len(other.boxes)) < PASTED):
        left, top, right, bottom = np.rint(other.boxes[index]).astype(np.int64)
        size = np.array([right - left, bottom - top])
        corners = rng.integers(0, image.shape[1::-1] - size, (TRIALS, 2), endpoint=True)
        spots = np.concatenate([corners, corners + size], axis=1)
        free = _shared(spots, taken) <= HIDDEN
        if free.any():
            spot = spots[free.argmax()]
            image[spot[1] : spot[3], spot[0] : spot[2]] = other.image[top:bottom, left:right]
            pasted.append(index)
            taken = np.concatenate([taken, spot[None].astype(np.float32)])
    moved = replace(other.select(np.array(pasted, np.int64)), boxes=taken[len(one.boxes) :])
    return join(image, [one, moved], one.image_id)


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each box (N, 4) the largest intersection with one of the others (M, 4), over the smaller area."""
    a, b = boxes[:, None], others[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    smaller = np.minimum((a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1))
    return (sides.clip(0).prod(-1) / smaller).max(1, initial=0)
