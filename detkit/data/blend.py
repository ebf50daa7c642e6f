"""One input from two finished ones of the same size: mixup and copy-paste; the boxes of the second follow the first's."""

from __future__ import annotations

import cv2
import numpy as np

from detkit.data.collage import join
from detkit.structures import Sample

WEIGHTS = (0.45, 0.55)
"""Share of the first input in mixup: both keep all their boxes, so that neither may fade."""
HIDDEN = 0.3
"""A pasted box and one that is there may share this much of the smaller one's area."""


def mix(one: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """Return two inputs blended, with the boxes of both (mixup: Zhang et al., 2018, 2019, arXiv:1710.09412, 1902.04103)."""
    weight = rng.uniform(*WEIGHTS)
    return join(cv2.addWeighted(one.image, weight, other.image, 1 - weight, 0), [one, other], one.image_id)


def paste(one: Sample, other: Sample) -> Sample:
    """Return ``one`` with those boxes of ``other`` copied over it, in place, that hide little of what is there.

    Copy-paste (Ghiasi et al., 2021, arXiv:2012.07177) of boxes, for data without masks.
    """
    chosen = other.select(_shared(other.boxes, one.boxes) <= HIDDEN)
    image = one.image.copy()
    for left, top, right, bottom in np.rint(chosen.boxes).astype(int).tolist():
        image[top:bottom, left:right] = other.image[top:bottom, left:right]
    return join(image, [one, chosen], one.image_id)


def _shared(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return for each box (N, 4) the largest intersection with one of the others (M, 4), over the smaller area."""
    a, b = boxes[:, None], others[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    smaller = np.minimum((a[..., 2:] - a[..., :2]).prod(-1), (b[..., 2:] - b[..., :2]).prod(-1))
    return (sides.clip(0).prod(-1) / smaller).max(1, initial=0)
