"""A checkpoint alone gives back the detector that was saved."""

from pathlib import Path

import numpy as np
import pytest
import torch

from detkit.deploy.load import load_detector
from detkit.deploy.predictor import Predictor
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.weights.checkpoint import PREFIX, header, write_checkpoint
from detkit.zoo import yolo11, yolov8
from tests.networks import scrambled
from tests.train.tiny import tiny_rtdetr

NAMES = ("cat", "鸟")


def saved(path: Path, experiment: Experiment, weights: dict, **more) -> Path:
    state = {PREFIX + name: value for name, value in weights.items()}
    write_checkpoint({"state_dict": state} | header(experiment, NAMES) | more, path)
    return path


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment(model=yolo11("n"), data={"size": (64, 96), "resize": "stretch"})


def test_the_same_predictions_come_back(experiment, tmp_path):
    torch.manual_seed(0)
    detector = experiment.model.build(num_classes=2).eval()
    live = {PREFIX + name: torch.zeros_like(value) for name, value in detector.state_dict().items()}
    path = saved(tmp_path / "best.ckpt", experiment, detector.state_dict(), current_model_state=live)
    loaded = load_detector(path)
    assert loaded.names == NAMES
    assert loaded.experiment == experiment
    images = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        for ours, theirs in zip(loaded.detector(images)[:2], detector(images)[:2], strict=True):
            assert torch.equal(ours, theirs)


def test_a_predictor_takes_size_and_resizing_from_the_run(experiment, tmp_path):
    torch.manual_seed(0)
    path = saved(tmp_path / "best.ckpt", experiment, experiment.model.build(num_classes=2).state_dict())
    predictor = Predictor.from_checkpoint(path, confidence=0.0, limit=7, device="cpu")
    assert (predictor.shape, predictor.resize, predictor.names) == ((64, 96), "stretch", NAMES)
    found = predictor(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))
    assert len(found.scores) == 7
    assert (found.scores.diff() <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= torch.tensor([70, 50, 70, 50])).all()


def test_weights_of_another_model_are_refused(experiment, tmp_path):
    path = saved(tmp_path / "a.ckpt", experiment, yolov8("n").build(num_classes=2).state_dict())
    with pytest.raises(UserError, match=r"a\.ckpt does not hold the weights of the model that it describes"):
        load_detector(path)


OVERRIDDEN = {
    "model.head.depth=2": r"\d+ tensors are unexpected: head\.layers\.2\.",
    "model.head.depth=4": r"\d+ tensors are missing: head\.layers\.3\.",
    "model.head.queries=5": None,
    "model.head.eval_layer=1": None,
    "model.head.eval_layers=1": "model.head: no field 'eval_layers'; did you mean 'eval_layer'?",
}


@pytest.mark.parametrize(("change", "message"), OVERRIDDEN.items(), ids=OVERRIDDEN)
def test_a_checkpoint_is_any_model_that_its_weights_fill(change, message, tmp_path):
    torch.manual_seed(0)
    experiment = Experiment(model=tiny_rtdetr(depth=3), data={"size": 64})
    path = saved(tmp_path / "best.ckpt", experiment, scrambled(experiment.model.build(num_classes=2)).state_dict())
    images = torch.rand(1, 3, 64, 64)
    if message is None:
        with torch.inference_mode():
            whole, changed = (load_detector(path, words).detector(images) for words in ((), [change]))
        assert changed.boxes.shape != whole.boxes.shape or not torch.equal(changed.boxes, whole.boxes)
        assert Predictor.from_checkpoint(path, overrides=[change], device="cpu")
    else:
        with pytest.raises(UserError, match=message):
            load_detector(path, [change])


def test_a_part_that_is_not_imported_is_named(experiment, tmp_path):
    path = tmp_path / "a.ckpt"
    entries = header(experiment, NAMES)
    entries["experiment"]["model"]["backbone"]["type"] = "MyNet"
    write_checkpoint(entries | {"modules": ["mylab.nets"], "state_dict": {PREFIX + "x": torch.ones(1)}}, path)
    with pytest.raises(UserError, match=r"no backbone 'MyNet'.*--import mylab\.nets"):
        load_detector(path)
