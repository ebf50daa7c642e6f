"""The predictor's options: classes before the limit, and numbers and devices that cannot be met."""

import pytest

from detkit.deploy.predictor import Predictor
from detkit.deploy.tiles import TiledPredictor
from detkit.errors import UserError
from tests.deploy.fakes import NAMES, BlobDetector, scene

SCENE = scene(
    128, 128, ("red", (0, 0, 60, 60)), ("green", (70, 0, 100, 40)), ("red", (0, 70, 40, 100)), ("blue", (70, 70, 80, 80))
)


def predictor(**options) -> Predictor:
    return Predictor(BlobDetector(), NAMES, (128, 128), device="cpu", **options)


def test_all_classes_without_a_filter():
    assert predictor()(SCENE).class_names() == ["red", "red", "green", "blue"]


def test_classes_are_chosen_before_the_limit_counts():
    assert predictor(limit=2)(SCENE).class_names() == ["red", "red"]
    found = predictor(limit=2, classes=["green", "blue"])(SCENE)
    assert found.class_names() == ["green", "blue"]
    assert found.boxes.tolist() == [[70, 0, 100, 40], [70, 70, 80, 80]]
    assert len(predictor(confidence=0.0, classes=["green"])(SCENE)) == 1


def test_an_unknown_class_is_told_with_a_suggestion():
    with pytest.raises(UserError, match="the detector knows no class 'gren'; did you mean 'green'"):
        predictor(classes=["red", "gren"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"confidence": 25}, "confidence is between 0 and 1, not 25"),
        ({"iou": -0.1}, "iou is between 0 and 1"),
        ({"limit": 0}, "limit is at least 1"),
        ({"batch": 0}, "batch is at least 1"),
        ({"device": "gpu"}, "device 'gpu' cannot be used here .*; write cpu, cuda"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
    ],
)
def test_options_that_cannot_be_met(options, message):
    with pytest.raises(UserError, match=message):
        Predictor(BlobDetector(), NAMES, (128, 128), **({"device": "cpu"} | options))


@pytest.mark.parametrize(("options", "message"), [({"tiles": 0}, "write 640"), ({"overlap": 1.0}, "write 0.2")])
def test_tiles_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        TiledPredictor(BlobDetector(), NAMES, (128, 128), device="cpu", **options)
