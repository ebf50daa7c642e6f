"""Image files to arrays, always (H, W, 3) uint8 RGB.

Orientation tags (EXIF) are ignored in data sets of COCO's and VOC's format: COCO's boxes are in stored pixels, and so read its
own tools. Only where the stored picture has another size than the annotation, and the turned one has it, was the annotation
made on the turned picture, and it is turned. Pictures of data sets in YOLO's format, and pictures to predict on, are turned
upright.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from detkit.errors import UserError
from detkit.structures import Sample

REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""Decoder flags by reduction; a JPEG decoder computes fewer coefficients, so that smaller is also faster."""


class ImageError(UserError):
    """An image file cannot be read, or is not the picture that was annotated."""


def load_image(path: str | Path, upright: bool = True) -> np.ndarray:
    """Return an image file as (H, W, 3) uint8 RGB, turned ``upright`` as its orientation tag says.

    Raises:
        ImageError: it cannot be read.
    """
    return _decode(_read(path), cv2.IMREAD_COLOR | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION), path)


def reduction_for(scale: float) -> int:
    """Return by how much (1, 2, 4 or 8) a decoder may reduce an image that is then resized by ``scale``."""
    return max(r for r in REDUCED if r == 1 or r * scale <= 1)


def load_annotated(path: str, size: tuple[int, int], reduction: int = 1, upright: bool = False) -> np.ndarray:
    """Return an image of a data set as (H, W, 3) uint8 RGB, in the orientation that its annotation saw.

    Args:
        path: image file.
        size: annotated (height, width).
        reduction: decode at 1/2, 1/4 or 1/8 of the size, which decoders round up or down.
        upright: the annotation is of the picture turned as its orientation tag says.

    Raises:
        ImageError: it cannot be read, or has another size than annotated.
    """
    if min(size) < reduction > 1:  # decoders refuse to leave nothing of a side
        image = load_annotated(path, size, 1, upright)
        height, width = (-(-side // reduction) for side in size)
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    data, flag = _read(path), REDUCED[reduction]
    image = _decode(data, flag | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION), path)
    if not upright and not _fits(image, size, reduction):
        image = _decode(data, flag, path)
    if not _fits(image, size, reduction):
        height, width = _decode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION, path).shape[:2]
        raise ImageError(
            f"the image {path} is {width}x{height} pixels, but annotated as {size[1]}x{size[0]}, so its boxes cannot be "
            "trusted; restore the image, or mend its width, height and boxes in the annotation file"
        )
    return image


def sample_of(image: np.ndarray, image_id: int = 0) -> Sample:
    """Return an (H, W, 3) uint8 RGB image without boxes as a sample, to letterbox and predict on."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"an image is (height, width, 3) uint8 RGB, not {image.shape} {image.dtype}")
    height, width = image.shape[:2]
    return Sample(image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), image_id, (height, width))


def _fits(image: np.ndarray, size: tuple[int, int], reduction: int) -> bool:
    """Say whether an image is as annotated; decoders round reduced sizes up or down."""
    return all(abs(pixels * reduction - full) < reduction for pixels, full in zip(image.shape, size, strict=False))


def _read(path: str | Path) -> np.ndarray:
    try:
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise ImageError(f"the image {path} cannot be read ({error.strerror}); check the path") from None


def _decode(data: np.ndarray, flags: int, path: str | Path) -> np.ndarray:
    try:
        image = cv2.imdecode(data, flags) if len(data) else None
    except cv2.error as error:
        reason = " ".join(str(error).split())
        raise ImageError(f"the image {path} cannot be decoded ({reason}); replace it, or remove it from the data") from None
    if image is None:
        raise ImageError(
            f"the image {path} is cut short or in no format that can be read; replace it, or remove it from the data"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
