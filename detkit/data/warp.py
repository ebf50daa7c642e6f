"""Turning, shearing and tilting a finished input: one matrix, and boxes from their corners."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from detkit.data.augment import Augment
from detkit.data.collage import cut
from detkit.data.resize import GREY
from detkit.structures import Sample

MARGIN = 0.25
"""Share of the input by which the canvas is larger on each side, so that turned corners show photographs, not padding."""


def border(shape: tuple[int, int], augment: Augment) -> np.ndarray:
    """Return by how many pixels (x, y) the canvas reaches beyond the input on each side."""
    return np.ceil(MARGIN * np.array(shape[::-1])).astype(np.int64) if augment.warps else np.zeros(2, np.int64)


def random_matrix(augment: Augment, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a 3x3 matrix, from the canvas of `border` to an input of (height, width) ``shape``: middle to middle."""
    extent = np.array(shape[::-1])
    angle = np.radians(augment.degrees * rng.uniform(-1, 1))
    along_x, along_y = np.tan(np.radians(augment.shear * rng.uniform(-1, 1, 2)))
    tilt = augment.perspective * rng.uniform(-1, 1, 2) / extent
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    slant = np.array([[1, along_x, 0], [along_y, 1, 0], [0, 0, 1]])
    depth = np.array([[1, 0, 0], [0, 1, 0], [*tilt, 1]])
    return _shift(extent / 2) @ slant @ turn @ depth @ _shift(-extent / 2 - border(shape, augment))


def warp(sample: Sample, matrix: np.ndarray, shape: tuple[int, int]) -> Sample:
    """Return the sample seen through a 3x3 matrix of pixels, at (height, width) ``shape``.

    Boxes become the smallest ones round their four moved corners, clipped, without those hardly seen.
    """
    height, width = shape
    pixels = _shift(np.full(2, -0.5)) @ matrix @ _shift(np.full(2, 0.5))  # OpenCV counts from the middle of the first pixel
    image = cv2.warpPerspective(sample.image, pixels, (width, height), borderValue=(GREY, GREY, GREY))
    corners = sample.boxes[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
    moved = cv2.perspectiveTransform(corners, matrix) if len(corners) else corners
    boxes = np.concatenate([moved.min(1), moved.max(1)], axis=1)
    return cut(replace(sample, image=image, size=shape), boxes, np.array([0, 0, width, height]))


def _shift(offset: np.ndarray) -> np.ndarray:
    """Return the 3x3 matrix that moves points by (x, y)."""
    matrix = np.eye(3)
    matrix[:2, 2] = offset
    return matrix
