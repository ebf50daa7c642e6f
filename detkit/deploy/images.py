"""What a user may give a predictor as an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from detkit.data.images import load_image
from detkit.errors import UserError

ImageLike = np.ndarray | Image.Image | str | Path
"""An (H, W, 3) uint8 RGB array, a PIL image, or the path of an image file."""


def pixels_of(image: object) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 RGB, upright.

    Raises:
        UserError: it is no `ImageLike`, or cannot be read.
    """
    if isinstance(image, str | Path):
        return load_image(image)
    if isinstance(image, Image.Image):
        try:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except OSError as error:
            raise UserError(f"the PIL image cannot be read ({error}); give another") from None
    if not isinstance(image, np.ndarray):
        raise UserError(
            f"an image is a path, a PIL image or an array (height, width, 3) of uint8 in RGB, not {_short(image)}; "
            "several are given as a list"
        )
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise UserError(
            f"an image is (height, width, 3) uint8 RGB with a pixel at least, not {image.shape} {image.dtype}; "
            "convert it, for instance with PIL.Image.fromarray"
        )
    return image


def _short(value: object) -> str:
    """Return a value as text for a message: its type, and what it is where that is short."""
    text = repr(value)
    return f"{text} ({type(value).__name__})" if len(text) <= 20 else type(value).__name__
