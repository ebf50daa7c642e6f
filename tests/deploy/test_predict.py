"""Prediction: the right pixels, names and files, and one broken image loses nothing but itself."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from detkit.deploy.predict import predict_sources
from detkit.deploy.predictor import Predictor
from detkit.deploy.sources import Frame, ImageSource
from detkit.errors import UserError
from detkit.structures import Detections

NAMES = ("背景", "white")


class WhiteBox(nn.Module):
    """Finds the white pixels of each image: a detector that can be checked by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> list[Tensor]:
        assert images.dtype == torch.uint8
        assert not self.training
        self.batches.append(len(images))
        self.images = images
        found = []
        for image in images:
            y, x = (image.amin(0) > 250).nonzero(as_tuple=True)
            box = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else []
            found.append(torch.tensor(box).float().reshape(-1, 4))
        return found

    def detect(self, predictions, geometry, confidence, iou, limit) -> list[Detections]:
        boxes = [geometry.to_original(found, i) for i, found in enumerate(predictions)]
        return [Detections(found, torch.full((len(found),), 0.9), torch.ones(len(found), dtype=torch.int64)) for found in boxes]


def picture(height: int, width: int, box=(40, 20, 100, 60)) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return image


def predictor(**options) -> Predictor:
    return Predictor(WhiteBox(), NAMES, (128, 128), device="cpu", **options)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five images, one of them in a subfolder, and things that are no images."""
    root = tmp_path / "images"
    (root / "deep").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(picture(100 + number, 200)).save(root / f"{number}.png")
    Image.fromarray(picture(100, 200)).save(root / "deep" / "细胞 1.JPG")
    (root / "notes.txt").write_text("hello")
    (root / ".hidden.png").write_bytes(b"")
    return root


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize(("height", "width"), [(100, 200), (300, 110), (128, 128), (64, 128)])
def test_boxes_come_back_in_the_pixels_of_the_original(resize, height, width):
    subject = predictor(resize=resize)
    found = subject(picture(height, width))
    padded = bool((subject.detector.images == 114).any())
    assert padded == (resize == "letterbox" and height != width)
    assert (found.boxes[0] - torch.tensor([40.0, 20, 100, 60])).abs().max() <= 3  # pixels of 200 in 128
    assert found.names == NAMES


def test_images_of_all_sizes_go_in_batches_and_come_back_in_order():
    subject = predictor(batch=2)
    corners = [10, 20, 30, 40, 50]
    images = [picture(100 + c, 150, (c, 10, c + 60, 50)) for c in corners]
    found = subject([*images, np.zeros((50, 50, 3), np.uint8)])
    assert subject.detector.batches == [2, 2, 2]
    assert [round(item.boxes[0, 0].item() / 10) * 10 for item in found[:5]] == corners
    assert len(found[5].boxes) == 0


def test_paths_and_arrays_give_the_same(folder):
    image = np.asarray(Image.open(folder / "0.png"))
    subject = predictor()
    ours, theirs, several = subject(image), subject(str(folder / "0.png")), subject([folder / "0.png"])
    assert torch.equal(ours.boxes, theirs.boxes)
    assert torch.equal(ours.boxes, several[0].boxes)


def test_one_image_gives_its_objects_and_several_a_list():
    subject = predictor()
    assert len(subject(picture(100, 200))) == 1
    assert [len(found) for found in subject([picture(100, 200)])] == [1]
    assert subject([]) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 3)),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((0,), np.uint8),
    ],
)
def test_an_array_that_is_no_image_is_named(image):
    with pytest.raises(UserError, match="uint8 RGB"):
        predictor()(image)


@pytest.mark.parametrize(
    ("image", "word"), [(5, "5 (int)"), (None, "None"), ([5], "5 (int)"), (torch.zeros(1, 2, 3), "Tensor")]
)
def test_what_is_no_image_is_named(image, word):
    with pytest.raises(UserError, match=rf"an image is a path, a PIL image or an array .* not {re.escape(word)}"):
        predictor()(image)


def test_a_pil_image_is_an_image(tmp_path):
    array = picture(100, 200)
    image, subject = Image.fromarray(array), predictor()
    expected = subject(array).boxes
    assert torch.equal(subject(image).boxes, expected)
    assert torch.equal(subject([image.convert("RGBA")])[0].boxes, expected)
    tag = Image.Exif()
    tag[0x0112] = 6
    image.rotate(90, expand=True).save(tmp_path / "turned.png", exif=tag)
    assert torch.equal(subject(Image.open(tmp_path / "turned.png")).boxes, expected), "upright, as from a file"


def test_a_stream_without_end_is_taken_a_batch_at_a_time():
    taken = []

    def frames():
        while True:
            taken.append(1)
            yield Frame("camera", picture(100, 200))

    stream = predictor(batch=3).stream(frames())
    next(stream)
    assert len(taken) == 3


def test_a_folder_becomes_pictures_and_json(folder, tmp_path):
    summary = predict_sources(predictor(), ImageSource(folder), tmp_path / "out")
    assert (summary.images, summary.objects, summary.skipped, summary.interrupted) == (5, 5, (), False)
    assert summary.paths == {"pictures": tmp_path / "out", "results": tmp_path / "out" / "predictions.json"}
    records = json.loads(summary.paths["results"].read_text(encoding="utf-8"))
    assert [item["file"] for item in records] == ["0.png", "1.png", "2.png", "3.png", "deep/细胞 1.JPG"]
    assert (records[2]["width"], records[2]["height"]) == (200, 102)
    (found,) = records[0]["detections"]
    assert (found["label"], found["name"], found["score"]) == (1, "white", 0.9)
    assert np.abs(np.subtract(found["box"], [40, 20, 100, 60])).max() <= 3
    for item in records:
        drawn = np.asarray(Image.open(tmp_path / "out" / item["file"]))
        assert drawn.shape[:2] == (item["height"], item["width"])
        assert (drawn.astype(int).max(-1) - drawn.min(-1) > 100).any(), "a coloured box on a black and white picture"


def test_a_broken_image_in_a_folder_is_named_and_the_rest_is_done(folder, tmp_path):
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:40])
    (folder / "2.png").write_bytes(b"")
    summary = predict_sources(predictor(batch=2), ImageSource(folder), tmp_path / "out")
    assert summary.images == 3
    assert [item.name for item in summary.skipped] == ["1.png", "2.png"]
    assert all(item.reason for item in summary.skipped)


def test_nothing_readable_is_an_error_that_says_why(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"none of the 1 images in .*in can be read; a\.jpg: "):
        predict_sources(predictor(), ImageSource(tmp_path / "in"), tmp_path / "out")
    with pytest.raises(UserError, match=r"a\.jpg"):
        predict_sources(predictor(), ImageSource(tmp_path / "in" / "a.jpg"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"there is no image or folder .*nowhere"):
        ImageSource(tmp_path / "nowhere")
    with pytest.raises(UserError, match="there are no images in"):
        ImageSource(tmp_path)


def test_the_images_are_never_replaced(folder):
    before = (folder / "0.png").read_bytes()
    for source in (folder, folder / "0.png"):
        with pytest.raises(UserError, match="would be mixed with the images"):
            predict_sources(predictor(), ImageSource(source), folder / "deep" / "..")
    Image.fromarray(picture(100, 200)).save(folder / "deep" / "0.png")
    with pytest.raises(UserError, match=r"0\.png exists, and is not from an earlier prediction; give another folder"):
        predict_sources(predictor(), ImageSource(folder / "deep"), folder)
    assert (folder / "0.png").read_bytes() == before


def test_what_was_done_before_an_interruption_is_kept(folder, tmp_path, monkeypatch):
    subject = predictor(batch=1)
    forward = subject.detector.forward

    def interrupted(images):
        if len(subject.detector.batches) == 2:
            raise KeyboardInterrupt
        return forward(images)

    monkeypatch.setattr(subject.detector, "forward", interrupted)
    summary = predict_sources(subject, ImageSource(folder), tmp_path / "out")
    assert (summary.images, summary.interrupted) == (2, True)
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))) == 2


def test_formats_that_cannot_be_annotated_become_jpeg(tmp_path):
    Image.fromarray(picture(100, 200)).save(tmp_path / "a.tif")
    predict_sources(predictor(), ImageSource(tmp_path / "a.tif"), tmp_path / "out")
    assert (tmp_path / "out" / "a.tif.jpg").is_file()


def test_an_output_that_cannot_be_written_is_a_sentence(folder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        predict_sources(predictor(), ImageSource(folder), tmp_path / "file" / "out")
