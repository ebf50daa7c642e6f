"""Augmentations of a finished picture: mirroring and colour."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from detkit.structures import Sample

HUES = 256
"""Steps of the hue circle in OpenCV's full 8-bit HSV."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = (0.875, 1.125), (0.5, 1.5), (0.5, 1.5), (-0.05, 0.05)
"""Ranges of the factors of `distort`; of a turn for the hue."""


def flip(sample: Sample, axis: int = 0) -> Sample:
    """Return the sample mirrored left to right (``axis`` 0) or top to bottom (1)."""
    boxes = sample.boxes.copy()
    boxes[:, [axis, axis + 2]] = sample.image.shape[1 - axis] - sample.boxes[:, [axis + 2, axis]]
    return replace(sample, image=cv2.flip(sample.image, 1 - axis), boxes=boxes)


def shift_colour(image: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Multiply hue (round the circle), saturation and value of an (H, W, 3) uint8 RGB image by three ``factors``, in place."""
    return _map_hsv(image, np.arange(256)[:, None] * factors)


def distort(image: np.ndarray, rng: np.random.Generator, probability: float) -> np.ndarray:
    """Change brightness, contrast, saturation, hue and the order of channels, each with this probability, in place.

    SSD's photometric distortion (Liu et al., 2016, arXiv:1512.02325) in the ranges of torchvision and RT-DETR.

    Args:
        image: (H, W, 3) uint8 RGB.
        rng: source of all randomness.
        probability: of each change, on its own.
    """
    chosen = rng.random(5) < probability
    brightness, contrast, saturation = (rng.uniform(*limits) for limits in (BRIGHTNESS, CONTRAST, SATURATION))
    hue, contrast_first, order = rng.uniform(*HUE), rng.random() < 0.5, rng.permutation(3)
    if chosen[0]:
        _map(image, np.arange(256) * brightness)
    if chosen[1] and contrast_first:
        _change_contrast(image, contrast)
    if chosen[2:4].any():
        levels = np.arange(256.0)
        turned = levels + chosen[3] * hue * HUES
        _map_hsv(image, np.stack([turned, levels * (saturation if chosen[2] else 1), levels], axis=1))
    if chosen[1] and not contrast_first:
        _change_contrast(image, contrast)
    if chosen[4]:
        image[:] = image[..., order]
    return image


def _change_contrast(image: np.ndarray, factor: float) -> None:
    """Stretch the distance of all values from the mean brightness, in place."""
    mean = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()
    _map(image, mean + factor * (np.arange(256) - mean))


def _map(image: np.ndarray, levels: np.ndarray) -> None:
    """Replace each value v by ``levels[v]``, in place."""
    cv2.LUT(image, np.rint(levels).clip(0, 255).astype(np.uint8), dst=image)


def _map_hsv(image: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Replace hue h, saturation s and value v by ``levels[h, 0]`` (round the circle), ``[s, 1]`` and ``[v, 2]``, in place."""
    levels = np.rint(levels)
    table = np.stack([levels[:, 0] % HUES, levels[:, 1].clip(0, 255), levels[:, 2].clip(0, 255)], axis=1)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    cv2.LUT(hsv, table.astype(np.uint8)[None], dst=hsv)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, dst=image)
