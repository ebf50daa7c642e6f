"""Images to the input size, and boxes with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np

from detkit.structures import Sample

GREY = 114
"""Value of padding, as the published recipes have it."""


def fit(sample: Sample, shape: tuple[int, int], resize: Literal["letterbox", "stretch"] = "letterbox") -> Sample:
    """Return the sample at (height, width) ``shape``, resized as a `Data` spec says."""
    return letterbox(sample, shape) if resize == "letterbox" else stretch(sample, shape)


def letterbox(sample: Sample, shape: tuple[int, int]) -> Sample:
    """Return the sample at (height, width) ``shape``, aspect kept, padded with grey on both sides."""
    height, width = sample.image.shape[:2]
    factor = min(shape[0] / height, shape[1] / width)
    inner = (max(1, round(height * factor)), max(1, round(width * factor)))
    top, left = (shape[0] - inner[0]) // 2, (shape[1] - inner[1]) // 2
    image = np.full((*shape, 3), GREY, np.uint8)
    image[top : top + inner[0], left : left + inner[1]] = _resized(sample.image, inner)
    return _moved(sample, image, (inner[1] / width, inner[0] / height), (left, top))


def stretch(sample: Sample, shape: tuple[int, int]) -> Sample:
    """Return the sample at (height, width) ``shape``, filled without regard to aspect."""
    height, width = sample.image.shape[:2]
    return _moved(sample, _resized(sample.image, shape), (shape[1] / width, shape[0] / height), (0, 0))


def _resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize to (height, width); below half size, pixels are averaged, as interpolation would skip some."""
    if image.shape[:2] == shape:
        return image
    shrinks = 2 * min(shape[0] / image.shape[0], shape[1] / image.shape[1]) < 1
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _moved(sample: Sample, image: np.ndarray, scale: tuple[float, float], offset: tuple[int, int]) -> Sample:
    """Return the sample with a new image, at (x, y) ``scale`` and ``offset`` of the present one."""
    boxes = sample.boxes * np.array([*scale, *scale], np.float32) + np.array([*offset, *offset], np.float32)
    return replace(
        sample,
        image=image,
        boxes=boxes.astype(np.float32),
        scale=(sample.scale[0] * scale[0], sample.scale[1] * scale[1]),
        offset=(sample.offset[0] * scale[0] + offset[0], sample.offset[1] * scale[1] + offset[1]),
    )
