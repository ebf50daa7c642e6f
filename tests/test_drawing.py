"""Pictures: boxes where they belong, stable colours, and nothing that stops a run for the sake of a label."""

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from detkit import drawing
from detkit.errors import UserError
from detkit.structures import Batch, Detections, Geometry, Targets

GREY = np.full((120, 200, 3), 128, np.uint8)


def one(box, label=0, names=("cat",), scores=None, image=GREY):
    return drawing.draw(image, np.array([box], np.float32), np.array([label]), names, scores)


def batch(images: int = 3, height: int = 64, width: int = 96) -> Batch:
    boxes = [torch.tensor([[10.0, 20.0, 60.0, 50.0]])] * (images - 1) + [torch.zeros(0, 4)]
    labels = [torch.tensor([0])] * (images - 1) + [torch.zeros(0, dtype=torch.int64)]
    geometry = Geometry(torch.ones(images, 2), torch.zeros(images, 2), torch.tensor([[height, width]] * images))
    pixels = torch.full((images, 3, height, width), 128, dtype=torch.uint8)
    return Batch(pixels, Targets.pack(boxes, labels), geometry, torch.arange(images), torch.ones(images, dtype=torch.bool))


def is_color(pixel, label: int) -> bool:
    return np.abs(pixel.astype(int) - drawing.color_of(label)).max() < 60


def test_the_outline_is_drawn_and_the_inside_and_the_source_are_left_alone():
    picture = one([50, 40, 150, 100])
    for x, y in ((50, 70), (150, 70), (100, 100)):
        assert is_color(picture[y, x], 0)
    assert (picture[60:90, 60:140] == 128).all()
    assert (GREY == 128).all()


def test_classes_have_different_colours_that_stay():
    colors = [drawing.color_of(label) for label in range(80)]
    assert len(set(colors)) == 80
    assert drawing.color_of(3) == colors[3]
    near = min(np.abs(np.subtract(colors[i], colors[j])).sum() for i in range(8) for j in range(i))
    assert near > 100


def test_the_best_box_lies_on_top():
    boxes = np.array([[50, 40, 150, 100]] * 2, np.float32)
    picture = drawing.draw(GREY, boxes, np.array([1, 0]), ("a", "b"), np.array([0.9, 0.5]))
    assert is_color(picture[70, 50], 1)


@pytest.mark.parametrize("name", ["猫", "жаба", "🐱", "", "a" * 300, "line\nbreak"])
@pytest.mark.parametrize("old_opencv", [False, True])
def test_any_class_name_can_be_written(name, old_opencv, monkeypatch):
    drawing._font.cache_clear()
    if old_opencv:
        monkeypatch.delattr(cv2, "FontFace", raising=False)
    picture = one([50, 40, 150, 100], names=(name,), scores=np.array([0.5]))
    drawing._font.cache_clear()
    assert (picture[20:40, 50:90] != 128).any(), "the plate with the name or number"


def test_a_class_is_numbered_where_its_name_cannot_be_written(monkeypatch):
    monkeypatch.setattr(drawing, "_font", lambda: None)
    assert [drawing._name(label, ("cat", "猫", "")) for label in range(4)] == ["cat", "#1", "#2", "#3"]


@pytest.mark.parametrize(
    "box", [[-50, -50, 500, 500], [10, 10, 10, 10], [190, 110, 400, 300], [np.nan] * 4, [1e30, 0, 1e30, 5]]
)
def test_any_box_can_be_drawn(box):
    assert one(box, scores=np.array([1.0])).shape == GREY.shape


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 200, 3), (400, 5, 3)])
def test_any_image_can_be_drawn_on(shape):
    assert one([0, 0, 3, 3], image=np.zeros(shape, np.uint8)).shape == shape


def test_plates_keep_clear_of_one_another():
    taken: list = []
    for _ in range(3):
        taken.append(drawing._place((50, 40, 150, 100), 40, 12, (120, 200), taken))
    assert len(set(taken)) == 3
    assert not any(drawing._touch(a, b) for a in taken for b in taken if a is not b)


def test_a_box_without_a_text_has_no_plate():
    image, boxes = np.zeros((80, 80, 3), np.uint8), np.array([[10.0, 40, 70, 70], [10, 40, 70, 70]])
    plain = drawing.draw_boxes(image, boxes[:1], [""], [(9, 200, 9)])
    assert not plain[:38].any() and plain[40, 10:70].any(), "an outline and no more"
    named = drawing.draw_boxes(image, boxes, ["", "cat"], [(9, 200, 9), (200, 9, 9)])
    assert (named[20:39, :40] == (200, 9, 9)).all(2).any(), "each text has the colour of its own box"


def test_no_boxes_is_the_image_itself():
    empty = drawing.draw(GREY, np.zeros((0, 4)), np.zeros(0, int), ())
    assert (empty == GREY).all()


def test_only_confident_detections_are_drawn():
    found = Detections(torch.tensor([[50.0, 40, 150, 100]]), torch.tensor([0.2]), torch.tensor([0]), ("cat",))
    assert (drawing.draw_detections(GREY, found, 0.25) == GREY).all()
    assert (drawing.draw_detections(GREY, found, 0.1) != GREY).any()


def test_a_batch_becomes_a_sheet_of_its_images():
    page = drawing.batch_sheet(batch(5), ("cat",), limit=4, side=192)
    assert page.shape == (2 * (128 + 20 + drawing.GAP) + drawing.GAP, 2 * (192 + drawing.GAP) + drawing.GAP, 3)
    assert is_color(page[drawing.GAP + 20 + 70, drawing.GAP + 20], 0), "the box is scaled with its image"


def test_labels_and_predictions_side_by_side():
    found = Detections(torch.tensor([[10.0, 20, 60, 50]]), torch.tensor([0.9]), torch.tensor([1]))
    page = drawing.comparison_sheet(batch(2), [found, found], ("cat", "dog"), side=192)
    left, right = drawing.GAP + 20, drawing.GAP * 2 + 192 + 20
    row = drawing.GAP + 20 + 70
    assert is_color(page[row, left], 0)
    assert is_color(page[row, right], 1)


def test_an_empty_sheet_and_tiles_of_several_sizes():
    assert drawing.sheet([]).ndim == 3
    page = drawing.sheet([GREY, GREY[:50, :70]], columns=1)
    assert page.shape == (2 * 124 + 4, 204 + 4, 3)


def test_pictures_are_written_where_no_folder_was(tmp_path):
    drawing.save_picture(tmp_path / "a" / "b.png", one([50, 40, 150, 100]))
    assert (np.asarray(Image.open(tmp_path / "a" / "b.png")) == one([50, 40, 150, 100])).all()


def test_a_picture_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"the picture .*file/a\.png cannot be written \(.*\); give another folder"):
        drawing.save_picture(tmp_path / "file" / "a.png", GREY)
