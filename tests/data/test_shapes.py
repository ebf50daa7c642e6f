"""The drawn data: the same on every machine, boxes that fit, classes that colour does not tell apart."""

import hashlib
import json
import math

import cv2
import numpy as np
import pytest

from detkit.data.layout import open_data
from detkit.data.presets import CLASSES, PRESETS
from detkit.data.shapes import DIRECTIONS, QUARTER, draw, shape_mask, write_shapes
from detkit.data.spec import Data
from detkit.errors import UserError

SMALL = PRESETS["shapes"]._replace(images={"train": 12, "val": 4})


def digest(preset, seeds) -> str:
    whole = hashlib.sha256()
    for seed in seeds:
        for array in draw(preset, seed):
            whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()[:16]


@pytest.mark.parametrize(("preset", "expected"), [("shapes", "38a216fea3876138"), ("shapes-hard", "81dc84bf86ec631c")])
def test_pixels_and_boxes_are_the_same_on_every_machine(preset, expected):
    assert digest(PRESETS[preset], [*range(20), *range(100_000, 100_010)]) == expected


def test_the_table_of_cosines_is_right():
    assert tuple(round(1024 * math.cos(2 * math.pi * k / DIRECTIONS)) for k in range(17)) == QUARTER


@pytest.mark.parametrize("label", range(len(CLASSES)))
def test_masks_are_tight_and_of_the_asked_size(label):
    for extent in (16, 40, 96):
        for direction in range(0, DIRECTIONS, 5):
            mask = shape_mask(label, extent, direction)
            assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()
            assert 0.7 * extent <= max(mask.shape) <= 1.25 * extent


def test_boxes_lie_inside_and_number_as_promised():
    for preset in PRESETS.values():
        for seed in range(50):
            image, boxes, labels = draw(preset, seed)
            assert image.shape == (preset.size, preset.size, 3) and image.dtype == np.uint8
            assert 1 <= len(boxes) == len(labels) <= preset.most
            assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= preset.size).all() and (boxes[:, 2:] > boxes[:, :2]).all()


def test_colour_does_not_tell_the_classes_apart():
    colours = {label: [] for label in range(len(CLASSES))}
    for seed in range(150):
        image, boxes, labels = draw(PRESETS["shapes"], seed)
        for (left, top, right, bottom), label in zip(boxes, labels, strict=True):
            colours[label].append(image[(top + bottom) // 2, (left + right) // 2])
    means = np.array([np.mean(values, 0) for values in colours.values()])
    spread = np.mean([np.std(values, 0) for values in colours.values()])
    assert np.ptp(means, axis=0).max() < spread / 2


def test_written_as_a_coco_folder_that_decodes_to_the_drawn_pixels(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "shapes", SMALL)
    folder = tmp_path / "data" / "shapes"
    write_shapes("shapes", folder)
    coco = json.loads((folder / "annotations" / "instances_train.json").read_text())
    assert [category["name"] for category in coco["categories"]] == list(CLASSES)
    assert len(coco["images"]) == 12
    for index in (0, 11):
        image, boxes, _ = draw(SMALL, index)
        entry = coco["images"][index]
        assert (cv2.imread(str(folder / "images" / entry["file_name"]))[..., ::-1] == image).all()
        stored = [a["bbox"] for a in coco["annotations"] if a["image_id"] == entry["id"]]
        assert stored == [[x, y, right - x, bottom - y] for x, y, right, bottom in boxes.tolist()]
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_an_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "shapes", SMALL)

    def stop(preset, seed):
        if seed == 3:
            raise KeyboardInterrupt
        return draw(preset, seed)

    monkeypatch.setattr("detkit.data.shapes.draw", stop)
    with pytest.raises(KeyboardInterrupt):
        write_shapes("shapes", tmp_path / "shapes")
    assert not list(tmp_path.iterdir())


def test_the_default_data_are_drawn_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "shapes", SMALL)
    splits = open_data(Data())
    assert (len(splits.train), len(splits.val), splits.names) == (12, 4, CLASSES)
    written = (tmp_path / "data" / "shapes" / "images" / "val_00000.png").stat().st_mtime_ns
    assert len(open_data(Data(root="shapes", limit=3)).train) == 3
    assert (tmp_path / "data" / "shapes" / "images" / "val_00000.png").stat().st_mtime_ns == written


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").write_text("a file")
    with pytest.raises(UserError, match="drawn data set 'shapes' cannot be written to"):
        open_data(Data())
