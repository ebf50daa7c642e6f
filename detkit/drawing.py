"""Pictures of boxes: on one image, on a contact sheet of a batch, and labels beside predictions.

Images are (H, W, 3) uint8 RGB arrays, boxes xyxy in their pixels.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from detkit.errors import UserError
from detkit.structures import Batch, Detections

BACKGROUND = (32, 32, 36)
CAPTION = (225, 225, 230)
GAP = 4
GOLDEN = 0.618033988749895

Color = tuple[int, int, int]
"""Red, green and blue."""
Plate = tuple[int, int, int, int]
"""Left, top, right and bottom of what a text is written on."""


def color_of(label: int) -> tuple[int, int, int]:
    """Return the RGB colour of a class, always the same: neighbours in number are far apart in hue."""
    saturation, value = ((0.85, 0.95), (0.55, 1.0), (0.95, 0.7))[label // 8 % 3]
    red, green, blue = colorsys.hsv_to_rgb((0.02 + label * GOLDEN) % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(
    image: np.ndarray, boxes: np.ndarray, labels: np.ndarray, names: Sequence[str] = (), scores: np.ndarray | None = None
) -> np.ndarray:
    """Return a copy of the image with each box in its class's colour, under its class's name and its score.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy pixels, best first: the first is drawn last, on top.
        labels: (N,) class numbers.
        names: class names by label; a label without one is written as ``#3``.
        scores: (N,) in [0, 1]; None for ground truth.
    """
    texts = [_name(int(label), names) for label in labels]
    if scores is not None:
        texts = [f"{text} {score:.2f}" for text, score in zip(texts, scores, strict=True)]
    return draw_boxes(image, boxes, texts, [color_of(int(label)) for label in labels])


def draw_boxes(image: np.ndarray, boxes: np.ndarray, texts: Sequence[str], colors: Sequence[Color]) -> np.ndarray:
    """Return a copy of the image with each box in its own colour, under its own text or none; the first is drawn on top."""
    picture = np.ascontiguousarray(image).copy()
    side = max(picture.shape[:2])
    size = min(28, max(12, round(side / 48)))
    corners = np.nan_to_num(boxes).round().clip(-(2**14), 2**14).astype(int).reshape(-1, 4).tolist()
    plates: list[Plate] = []
    for box, text in zip(corners, texts, strict=True):
        if text:
            plates.append(_place(box, _width(text, size) + 6, round(size * 1.25), picture.shape[:2], plates))
    for box, color in reversed(list(zip(corners, colors, strict=True))):
        cv2.rectangle(picture, box[:2], box[2:], color, max(1, round(side / 300)), cv2.LINE_AA)
    written = [(text, color) for text, color in zip(texts, colors, strict=True) if text]
    for plate, (text, color) in reversed(list(zip(plates, written, strict=True))):
        cv2.rectangle(picture, plate[:2], plate[2:], color, cv2.FILLED)
        _write(picture, text, (plate[0] + 3, plate[1] + round(size * 0.95)), _ink(color), size)
    return picture


def draw_detections(image: np.ndarray, detections: Detections, confidence: float = 0.0) -> np.ndarray:
    """Return a copy of the image with the detections of at least this confidence; their boxes are in its pixels."""
    boxes, scores, labels = (value.detach().cpu() for value in detections[:3])
    keep = scores >= confidence
    chosen = (boxes[keep].float().numpy(), labels[keep].numpy(), detections.names, scores[keep].float().numpy())
    return draw(image, *chosen)


def batch_sheet(batch: Batch, names: Sequence[str], limit: int = 16, side: int = 320) -> np.ndarray:
    """Return a contact sheet of the first ``limit`` images of a batch with their target boxes, as the network gets them."""
    tiles = [_target_tile(batch, i, names, side) for i in range(min(limit, len(batch.images)))]
    return sheet(tiles)


def comparison_sheet(
    batch: Batch,
    detections: Sequence[Detections],
    names: Sequence[str],
    limit: int = 8,
    side: int = 320,
    confidence: float = 0.25,
) -> np.ndarray:
    """Return pairs of pictures of the first ``limit`` images of a batch: labels on the left, predictions on the right.

    Args:
        batch: images and their targets.
        detections: of each image, in input pixels (``detect`` without a geometry).
        names: class names by label.
        limit: images shown.
        side: longer side of each picture.
        confidence: predictions below it are left out.
    """
    tiles = []
    for i, found in enumerate(detections[:limit]):
        image, scale = fit(_image(batch, i), side)
        shown = found._replace(boxes=found.boxes * scale, names=found.names or tuple(names))
        count = int((found.scores >= confidence).sum())
        predicted = caption(draw_detections(image, shown, confidence), f"predictions: {count} from {confidence:.2f} up")
        tiles += [_target_tile(batch, i, names, side), predicted]
    return sheet(tiles, columns=4 if len(tiles) > 2 else 2)


def before_after(before: Batch, after: Batch, names: Sequence[str], side: int = 320) -> list[np.ndarray]:
    """Return two pictures of each image of two batches, with target boxes: as it is in the one, then as in the other.

    Args:
        before: images as they are.
        after: the same images in the same order, augmented.
        names: class names by label.
        side: longer side of each picture.
    """
    return [_target_tile(batch, i, names, side) for i in range(len(before.images)) for batch in (before, after)]


def sheet(tiles: Sequence[np.ndarray], columns: int | None = None) -> np.ndarray:
    """Return pictures of any sizes on one sheet, row by row; as square as it gets where ``columns`` is None."""
    columns = columns or max(1, int(np.ceil(np.sqrt(len(tiles)))))
    rows = -(-len(tiles) // columns)
    height = max((tile.shape[0] for tile in tiles), default=0) + GAP
    width = max((tile.shape[1] for tile in tiles), default=0) + GAP
    page = np.full((rows * height + GAP, columns * width + GAP, 3), BACKGROUND, np.uint8)
    for position, tile in enumerate(tiles):
        top, left = position // columns * height + GAP, position % columns * width + GAP
        page[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return page


def fit(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """Return the image with its longer side at ``side``, and the factor: text stays legible on images of any size."""
    scale = side / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), scale


def caption(image: np.ndarray, text: str) -> np.ndarray:
    """Return the image below a line of text."""
    strip = np.full((20, image.shape[1], 3), BACKGROUND, np.uint8)
    _write(strip, text, (4, 14), CAPTION, 13)
    return np.concatenate([strip, image])


def legend(colors: Mapping[str, Color], width: int) -> np.ndarray:
    """Return a strip that says what colours mean."""
    strip = np.full((24, width, 3), BACKGROUND, np.uint8)
    left = 8
    for word, color in colors.items():
        cv2.rectangle(strip, (left, 6), (left + 12, 18), color, cv2.FILLED)
        _write(strip, word, (left + 18, 17), CAPTION, 14)
        left += 18 + _width(word, 14) + 20
    return strip


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write an RGB image; the suffix says the format.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path, quality=92)
    except OSError as error:
        raise UserError(f"the picture {path} cannot be written ({error.strerror or error}); give another folder") from None


def _image(batch: Batch, index: int) -> np.ndarray:
    return batch.images[index].cpu().permute(1, 2, 0).numpy()


def _target_tile(batch: Batch, index: int, names: Sequence[str], side: int) -> np.ndarray:
    """Return image ``index`` with its target boxes under a line that says which it is."""
    count = int(batch.targets.counts[index])
    boxes, labels = (value[index, :count].cpu().numpy() for value in (batch.targets.boxes, batch.targets.labels))
    image, scale = fit(_image(batch, index), side)
    return caption(draw(image, boxes * scale, labels, names), f"image {int(batch.image_ids[index])}, labels: {count}")


def _place(box: Sequence[int], width: int, height: int, limits: Sequence[int], taken: Sequence[Plate]) -> Plate:
    """Return a plate for the text of ``box``, inside the picture: on the box, under it or in it, where no other plate is."""
    left = max(0, min(box[0], limits[1] - width - 1))
    choices = []
    for wanted in (box[1] - height, box[3], box[1]):
        top = max(0, min(wanted, limits[0] - height - 1))
        choices.append((left, top, left + width, top + height))
    free = (plate for plate in choices if not any(_touch(plate, other) for other in taken))
    return next(free, choices[0])


def _touch(one: Plate, other: Plate) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _ink(color: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, whichever reads better on ``color``."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)


# --- text ------------------------------------------------------------------------------------------------------------
# OpenCV 5 brings a font that knows Chinese and most other scripts; OpenCV 4 only draws ASCII.


@lru_cache(maxsize=1)
def _font() -> Any:
    """Return OpenCV's own font of many scripts, or None where OpenCV is older than 5."""
    return cv2.FontFace("uni") if hasattr(cv2, "FontFace") else None


def _name(label: int, names: Sequence[str]) -> str:
    """Return what to write for a class: its name, or its number where there is no name or no letters for it."""
    name = names[label] if label < len(names) else ""
    return name if name and (name.isascii() or _font() is not None) else f"#{label}"


def _width(text: str, size: int) -> int:
    """Return the width of ``text`` in pixels."""
    if _font() is None:
        return cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / 28, 1)[0][0]
    return cv2.getTextSize((0, 0), text, (0, 0), _font(), size)[2]


def _write(picture: np.ndarray, text: str, start: tuple[int, int], color: tuple[int, int, int], size: int) -> None:
    """Write ``text`` from ``start``, the left end of its baseline."""
    if _font() is None:
        cv2.putText(picture, text, start, cv2.FONT_HERSHEY_SIMPLEX, size / 28, color, 1, cv2.LINE_AA)
    else:
        cv2.putText(picture, text, start, color, _font(), size)
