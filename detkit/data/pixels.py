"""Augmentations of a finished picture: mirroring and colour."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from detkit.structures import Sample

HUES = 256
"""Steps of the hue circle in OpenCV's full 8-bit HSV."""


def flip(sample: Sample) -> Sample:
    """Return the sample mirrored left to right."""
    boxes = sample.boxes.copy()
    boxes[:, [0, 2]] = sample.image.shape[1] - sample.boxes[:, [2, 0]]
    return replace(sample, image=cv2.flip(sample.image, 1), boxes=boxes)


def shift_colour(image: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Multiply hue (round the circle), saturation and value of an (H, W, 3) uint8 RGB image by three ``factors``, in place."""
    levels = np.rint(np.arange(256)[:, None] * factors)
    table = np.stack([levels[:, 0] % HUES, levels[:, 1].clip(0, 255), levels[:, 2].clip(0, 255)], axis=1)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    cv2.LUT(hsv, table.astype(np.uint8)[None], dst=hsv)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, dst=image)
