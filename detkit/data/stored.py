"""Boxes of pictures as they are shown, written for readers that take pictures as they are stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detkit.data.annotations import Annotations
from detkit.data.files import TURNED, read_header

MIRRORED_X, MIRRORED_Y = (2, 3, 7, 8), (3, 4, 6, 7)
"""Orientation tags of pictures whose stored columns, or rows, run against those that are shown (once their axes agree)."""


def as_stored(annotations: Annotations) -> Annotations:
    """Return a split whose boxes and sizes are those of the stored pictures; to be read as COCO's format is.

    Raises:
        UserError: an image cannot be read.
    """
    if not annotations.upright:
        return annotations
    sizes, boxes = annotations.sizes.copy(), annotations.boxes.copy()
    for row, path in enumerate(annotations.paths):
        _, size, orientation = read_header(path)
        mine = slice(annotations.starts[row], annotations.starts[row + 1])
        sizes[row] = size
        boxes[mine] = _stored_boxes(boxes[mine], orientation, size)
    return replace(annotations, sizes=sizes, boxes=boxes, upright=False)


def _stored_boxes(boxes: np.ndarray, orientation: int, size: tuple[int, int]) -> np.ndarray:
    """Return boxes (N, 4) xywh of a shown picture in the pixels of the stored one of (height, width) ``size``."""
    x, y, width, height = boxes.T
    if orientation in TURNED:
        x, y, width, height = y, x, height, width
    if orientation in MIRRORED_X:
        x = size[1] - x - width
    if orientation in MIRRORED_Y:
        y = size[0] - y - height
    return np.stack([x, y, width, height], axis=1)
