"""Drawn objects: a small data set that needs no download and is the same, pixel for pixel, on every machine.

Classes differ in shape, not in colour: discs, squares, triangles and stars of any colour, size and rotation, on a cluttered
ground of the same colours. Everything is integer arithmetic on a frozen random stream (NumPy's legacy ``RandomState``).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from detkit.data.presets import CLASSES, PRESETS, Preset
from detkit.errors import UserError

UNIT = 1024  # fixed-point one
DIRECTIONS = 64
# round(1024 cos(2 pi k / 64)) for the first quarter turn; the rest follows by symmetry
QUARTER = (1024, 1019, 1004, 980, 946, 903, 851, 792, 724, 650, 569, 483, 392, 297, 200, 100, 0)


def drawn_folder(preset: str) -> Path:
    """Return ``data/<preset>``, drawn there if it is not yet there.

    Raises:
        UserError: it cannot be written.
    """
    folder = Path("data") / preset
    if not folder.is_dir():
        try:
            write_shapes(preset, folder)
        except OSError as error:
            raise UserError(
                f"the drawn data set '{preset}' cannot be written to {folder.resolve()}: {error.strerror or error}; "
                "work in a folder where it can, or name a data set of your own with data.root=FOLDER"
            ) from None
    return folder


def write_shapes(preset: str, folder: Path) -> None:
    """Write a preset as a COCO folder (``images/``, ``annotations/instances_{train,val}.json``) at ``folder``.

    The folder appears whole or not at all: it is written aside and renamed.

    Args:
        preset: a key of `PRESETS`.
        folder: where to write; must not exist.
    """
    chosen = PRESETS[preset]
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (aside / "images").mkdir()
        (aside / "annotations").mkdir()
        for number, (split, count) in enumerate(chosen.images.items()):
            coco = _empty_coco()
            for index in tqdm(range(count), desc=f"drawing {preset}, {split}", unit="image", delay=2, disable=None):
                image, boxes, labels = draw(chosen, seed=number * 100_000 + index)
                name = f"{split}_{index:05d}.png"
                _write_png(aside / "images" / name, image)
                _annotate(coco, name, image.shape[:2], boxes, labels)
            file = aside / "annotations" / f"instances_{split}.json"
            file.write_text(json.dumps(coco), encoding="utf-8")
        aside.chmod(0o755)
        try:
            aside.replace(folder)
        except OSError:
            if not folder.is_dir():  # unless another process was quicker: the result is the same
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def draw(preset: Preset, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image (H, W, 3) uint8 RGB, boxes (N, 4) int64 xyxy round the whole of each object, and labels (N,)."""
    random = np.random.RandomState(seed)
    image = _ground(random, preset)
    boxes: list[tuple[int, int, int, int]] = []
    labels: list[int] = []
    for _ in range(random.randint(1, preset.most + 1)):
        label, extent = random.randint(len(CLASSES)), _extent(random, preset)
        mask = shape_mask(label, extent, random.randint(DIRECTIONS))
        for _ in range(20):  # tries to find a free place
            x, y = random.randint(preset.size - mask.shape[1] + 1), random.randint(preset.size - mask.shape[0] + 1)
            box = (x, y, x + mask.shape[1], y + mask.shape[0])
            if all(_covered(box, other) * 100 <= preset.overlap for other in boxes):
                _paint(image[y : box[3], x : box[2]], mask, random, preset.contrast)
                boxes.append(box)
                labels.append(label)
                break
    return image, np.array(boxes, np.int64).reshape(-1, 4), np.array(labels, np.int64)


def shape_mask(label: int, extent: int, direction: int) -> np.ndarray:
    """Return the tight (H, W) bool mask of a class, about ``extent`` pixels wide, turned by ``direction`` / 64 of a turn."""
    cos, sin = _cosine(direction), _cosine(direction - DIRECTIONS // 4)
    axis = 2 * np.arange(-extent, extent + 1)  # half pixels
    x, y = np.meshgrid(axis, axis)
    u, v = x * cos + y * sin, y * cos - x * sin  # half pixels, in fixed point
    one = extent * UNIT  # half of the extent, in half pixels
    if CLASSES[label] == "disc":
        inside = x * x + y * y <= extent * extent
    elif CLASSES[label] == "square":
        side = one * 5 // 6
        inside = (abs(u) <= side) & (abs(v) <= side)
    elif CLASSES[label] == "triangle":
        inside = _triangle(u, v, one)
    else:
        inside = _triangle(u, v, one) | _triangle(u, -v, one)
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    return inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _triangle(u: np.ndarray, v: np.ndarray, one: int) -> np.ndarray:
    """Equilateral, centred, corners at distance ``one``: three half-planes at distance one / 2 (866/1000 = sin 60 degrees)."""
    slanted = one * 500
    return (v <= one // 2) & (866 * u - 500 * v <= slanted) & (-866 * u - 500 * v <= slanted)


def _cosine(direction: int) -> int:
    """Return round(1024 cos(2 pi direction / 64)) from the quarter-turn table."""
    k = direction % DIRECTIONS
    k = min(k, DIRECTIONS - k)
    return QUARTER[k] if k <= DIRECTIONS // 4 else -QUARTER[DIRECTIONS // 2 - k]


def _extent(random: np.random.RandomState, preset: Preset) -> int:
    """Draw a size; the square makes small ones commoner."""
    share = random.randint(UNIT) * random.randint(UNIT)
    return preset.smallest + (preset.largest - preset.smallest) * share // (UNIT * UNIT)


def _covered(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> float:
    """Return intersection over the smaller area."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    smaller = min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
    return max(width, 0) * max(height, 0) / smaller


def _ground(random: np.random.RandomState, preset: Preset) -> np.ndarray:
    """Return a patchwork of colours crossed by lines and dotted with specks."""
    cell = preset.size // 8
    patches = random.randint(30, 226, (1, 1, 3)) + random.randint(-40, 41, (8, 8, 3))
    image = np.repeat(np.repeat(patches, cell, 0), cell, 1)
    grain = random.randint(-12, 13, (preset.size // 2, preset.size // 2, 1))
    image = np.clip(image + np.repeat(np.repeat(grain, 2, 0), 2, 1), 0, 255).astype(np.uint8)
    for _ in range(preset.clutter):
        colour, start = random.randint(0, 256, 3), random.randint(0, preset.size, 2)
        if random.randint(2):
            _line(image, start, random.randint(-preset.size // 3, preset.size // 3 + 1, 2), colour, random.randint(1, 4))
        else:
            height, width = random.randint(2, 7, 2)
            image[start[1] : start[1] + height, start[0] : start[0] + width] = colour
    return image


def _line(image: np.ndarray, start: np.ndarray, step: np.ndarray, colour: np.ndarray, width: int) -> None:
    """Draw a straight line from ``start`` (x, y) by ``step``, cut at the border."""
    count = max(int(abs(step).max()), 1)
    points = start + step * np.arange(count + 1)[:, None] // count
    for brush in np.ndindex(width, width):
        x, y = (points + brush).T
        inside = (x >= 0) & (x < image.shape[1]) & (y >= 0) & (y < image.shape[0])
        image[y[inside], x[inside]] = colour


def _paint(patch: np.ndarray, mask: np.ndarray, random: np.random.RandomState, contrast: int) -> None:
    """Fill the mask with a colour that stands out from what is there, grained or striped."""
    there = patch[mask].astype(np.int64).sum(0) // int(mask.sum())
    while True:
        colour = random.randint(0, 256, 3)
        if abs(colour - there).sum() >= contrast:
            break
    height, width = mask.shape
    texture = random.randint(-15, 16, (height, width, 1))
    if random.randint(3) == 0:
        stripe = (np.arange(height)[:, None] + np.arange(width)[None]) // random.randint(2, 6) % 2
        texture = texture + 40 * stripe[..., None]
    patch[mask] = np.clip(colour + texture, 0, 255).astype(np.uint8)[mask]


def _write_png(file: Path, image: np.ndarray) -> None:
    encoded, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not encoded:
        raise RuntimeError(f"OpenCV could not encode {file.name}")
    file.write_bytes(data.tobytes())


def _empty_coco() -> dict[str, list[dict[str, Any]]]:
    return {"images": [], "annotations": [], "categories": [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]}


def _annotate(
    coco: dict[str, list[dict[str, Any]]], name: str, size: tuple[int, ...], boxes: np.ndarray, labels: np.ndarray
) -> None:
    image_id = len(coco["images"]) + 1
    coco["images"].append({"id": image_id, "file_name": name, "width": size[1], "height": size[0]})
    for (left, top, right, bottom), label in zip(boxes.tolist(), labels.tolist(), strict=True):
        width, height = right - left, bottom - top
        entry = {"id": len(coco["annotations"]) + 1, "image_id": image_id, "category_id": label + 1, "iscrowd": 0}
        coco["annotations"].append(entry | {"bbox": [left, top, width, height], "area": width * height})
