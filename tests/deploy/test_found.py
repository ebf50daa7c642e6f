"""What a predictor returns: prints, draws, selects and converts."""

import subprocess
import sys
import types

import numpy as np
import pytest
import torch

import detkit
from detkit.deploy.found import Found
from detkit.errors import UserError
from detkit.structures import Detections

BOXES = [[10.0, 20, 60, 50], [0, 0, 5, 5], [100, 40, 180, 110]]


@pytest.fixture
def found() -> Found:
    detections = Detections(
        torch.tensor(BOXES, dtype=torch.bfloat16),
        torch.tensor([0.75, 0.5, 0.25], dtype=torch.float16),
        torch.tensor([1, 0, 1]),
        extras={"angle": torch.tensor([1.0, 2, 3])},
    )
    return Found.of(detections, ("cat", "鸟"))


@pytest.fixture
def nothing(found) -> Found:
    return found[:0]


def test_it_prints_as_a_table(found, nothing):
    assert str(found).splitlines() == [
        "3 objects: 2 鸟, 1 cat",
        "score       x1       y1       x2       y2  class",
        " 0.75     10.0     20.0     60.0     50.0  鸟",
        " 0.50      0.0      0.0      5.0      5.0  cat",
        " 0.25    100.0     40.0    180.0    110.0  鸟",
    ]
    assert repr(found) == "<Found: 3 objects: 2 鸟, 1 cat>"
    assert str(nothing) == "no objects"
    assert str(found[0]).startswith("1 object: 1 鸟\n")


def test_a_long_table_is_cut(found):
    many = found[torch.zeros(50, dtype=torch.int64)]
    lines = str(many).splitlines()
    assert lines[0] == "50 objects: 50 鸟" and lines[-1] == "... and 30 more" and len(lines) == 23


def test_objects_are_counted_selected_and_looped_over(found, nothing):
    assert len(found) == 3 and found and not nothing
    assert [item.labels.tolist() for item in found] == [[1], [0], [1]]
    assert found[-1].boxes.tolist() == BOXES[2:]
    sure = found[found.scores > 0.3]
    assert sure.boxes.tolist() == BOXES[:2] and sure.extras["angle"].tolist() == [1, 2]
    assert found.counts() == {"鸟": 2, "cat": 1}
    with pytest.raises(IndexError):
        found[3]


def test_numpy_and_plain_data(found, nothing):
    boxes, scores, labels = found.numpy()
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
    assert boxes.tolist() == BOXES and scores.tolist() == [0.75, 0.5, 0.25] and labels.tolist() == [1, 0, 1]
    assert found.to_dicts()[1] == {"box": [0.0, 0.0, 5.0, 5.0], "score": 0.5, "label": 0, "name": "cat"}
    assert nothing.numpy().boxes.shape == (0, 4) and nothing.to_dicts() == []


def test_it_draws_on_arrays_and_files(found, tmp_path):
    from detkit.drawing import save_picture

    image = np.full((120, 200, 3), 128, np.uint8)
    save_picture(tmp_path / "a.png", image)
    drawn = found.draw(image)
    assert (drawn != image).any() and (image == 128).all()
    assert (found.draw(tmp_path / "a.png") == drawn).all()


def test_supervision(found, nothing, monkeypatch):
    module = types.ModuleType("supervision")
    module.Detections = lambda **fields: fields
    monkeypatch.setitem(sys.modules, "supervision", module)
    fields = found.to_supervision()
    assert fields["xyxy"].tolist() == BOXES and fields["xyxy"].dtype == np.float32
    assert fields["confidence"].tolist() == [0.75, 0.5, 0.25] and fields["class_id"].tolist() == [1, 0, 1]
    assert fields["data"]["class_name"].tolist() == ["鸟", "cat", "鸟"]
    assert nothing.to_supervision()["xyxy"].shape == (0, 4)


def test_supervision_that_is_not_installed_is_named(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match="pip install supervision"):
        found.to_supervision()


def test_importing_detkit_does_not_import_torch():
    code = "import sys, detkit; assert callable(detkit.load); assert not {'torch', 'numpy', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_load_takes_a_checkpoint_and_options(tmp_path):
    from detkit.deploy.predictor import Predictor
    from detkit.deploy.tiles import TiledPredictor
    from detkit.weights.checkpoint import PREFIX, header, write_checkpoint
    from tests.train.tiny import tiny_experiment

    experiment = tiny_experiment(tmp_path, tmp_path)
    weights = experiment.model.build(num_classes=2).state_dict()
    state = {PREFIX + name: value for name, value in weights.items()}
    path = tmp_path / "best.ckpt"
    write_checkpoint({"state_dict": state} | header(experiment, ("red", "blue")), path)
    predictor = detkit.load(path, confidence=0.0, limit=3, size=(96, 64), classes=["blue"], device="cpu")
    assert type(predictor) is Predictor and predictor.shape == (96, 64)
    found = predictor(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))
    assert len(found) == 3 and found.class_names() == ["blue"] * 3
    tiled = detkit.load(path, tiles=32, overlap=0.5, device="cpu")
    assert isinstance(tiled, TiledPredictor) and (tiled.tiles, tiled.overlap, tiled.shape) == (32, 0.5, (64, 64))
    with pytest.raises(UserError, match="500 is no multiple of 32; write 512"):
        detkit.load(path, size=500)


@pytest.mark.parametrize("number", [np.int64(1), torch.tensor(1), np.array(1)])
def test_numbers_of_numpy_and_torch_select_one_object(found, number):
    chosen = found[number]
    assert len(chosen) == 1 and torch.equal(chosen.boxes, found[1].boxes)
