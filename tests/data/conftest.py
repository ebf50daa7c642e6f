"""Tiny COCO folders: images of coloured rectangles, whose places can be read back from the pixels."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

GROUND = (90, 90, 90)
# one channel full, one empty: no mixture with the grey around can be mistaken for another colour
COLOURS = [
    tuple(np.roll((255, 0, level) if turn < 3 else (0, 255, level), turn).tolist())
    for level in (40, 85, 130, 170, 215)
    for turn in range(6)
]


def picture(size, rectangles):
    """An image of (height, width) with rectangles {colour number: (left, top, right, bottom)}."""
    image = np.full((*size, 3), GROUND, np.uint8)
    for colour, (left, top, right, bottom) in rectangles.items():
        image[top:bottom, left:right] = COLOURS[colour]
    return image


def extent(image, colour, slack=2):
    """Where a colour is seen: (left, top, right, bottom), or None."""
    seen = (np.abs(image.astype(int) - COLOURS[colour]) <= slack).all(2)
    if not seen.any():
        return None
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


def write_image(path: Path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image[..., ::-1])


def coco(images, boxes, categories=((1, "cat"), (2, "dog"))):
    """A COCO dictionary from (id, file name, (height, width)) and (image id, category id, xywh)."""
    return {
        "images": [{"id": i, "file_name": name, "height": size[0], "width": size[1]} for i, name, size in images],
        "annotations": [
            {"id": i + 1, "image_id": image, "category_id": category, "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
            for i, (image, category, box) in enumerate(boxes)
        ],
        "categories": [{"id": i, "name": name} for i, name in categories],
    }


@pytest.fixture
def write_json():
    def write(path: Path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def rectangles_of(number):
    """Two rectangles on image ``number``, in colours of its own: colour number -> corners."""
    return {2 * number: (8, 12, 40 + number, 50), 2 * number + 1: (60, 30, 100, 70 + number)}


def make_folder(root: Path, count: int = 12, val: int = 5) -> Path:
    """Write a data set of ``count`` images of coloured rectangles; a rectangle's class is its colour."""
    sizes = {number: (90 + 2 * number, 140 - 3 * number) for number in range(count)}
    for number, size in sizes.items():
        write_image(root / "images" / f"{number}.png", picture(size, rectangles_of(number)))
    categories = [(colour + 1, f"colour {colour}") for colour in range(2 * count)]
    for split, numbers in (("train", range(count)), ("val", range(val))):
        images = [(100 + number, f"{number}.png", sizes[number]) for number in numbers]
        boxes = [
            (100 + number, colour + 1, (left, top, right - left, bottom - top))
            for number in numbers
            for colour, (left, top, right, bottom) in rectangles_of(number).items()
        ]
        path = root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(coco(images, boxes, categories)), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory) -> Path:
    """A data set of 12 training and 5 validation images, two rectangles each, every one in a colour and class of its own."""
    return make_folder(tmp_path_factory.mktemp("rectangles"))
