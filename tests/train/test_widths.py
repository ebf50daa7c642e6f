"""Fine-tuning on other classes keeps what was learnt of those that are known, of the smallest detectors too."""

import pytest
import torch

from detkit.deploy.load import load_detector
from detkit.experiment import Experiment, Init
from detkit.heads.dense import DenseHead
from detkit.train.fit import fit
from detkit.train.start import new_detector
from detkit.train.widths import as_wide_as_init
from detkit.weights.checkpoint import PREFIX, header, write_checkpoint
from detkit.weights.published import COCO
from detkit.zoo import rtdetr, yolo11
from tests.networks import scrambled
from tests.train.tiny import tiny_experiment, tiny_model, write_rectangles

OWN = ("person", "car", "forklift")
MANY = (*(f"thing {number}" for number in range(38)), "blue", "red")


def saved(path, experiment, classes):
    """Write a checkpoint of random weights; return its tensors by name."""
    state = scrambled(experiment.model.build(len(classes)), seed=5).state_dict()
    write_checkpoint(
        {"state_dict": {PREFIX + name: value for name, value in state.items()}} | header(experiment, classes), path
    )
    return state


@pytest.mark.parametrize("model", [yolo11("n"), rtdetr("r18")], ids=["yolo11n", "rtdetr_r18"])
def test_two_of_three_classes_of_coco_are_kept(model, tmp_path, caplog):
    state = saved(tmp_path / "coco.ckpt", Experiment(model=model), COCO)
    start = new_detector(Experiment(model=model, init=Init(weights=str(tmp_path / "coco.ckpt"))), len(OWN), OWN)
    experiment, found = start.experiment, start.detector.state_dict()
    fresh = new_detector(experiment.model_copy(update={"init": None}), len(OWN), OWN).detector.state_dict()
    assert "the rows of 2 of 3 classes were taken by name: person, car" in caplog.text
    changed = [name for name in found if found[name].shape != state[name].shape]
    assert len(changed) == (6 if model == yolo11("n") else 9)
    for name, tensor in found.items():
        if name not in changed:
            assert torch.equal(tensor, state[name]), name
            continue
        assert torch.equal(tensor[:2], state[name][[COCO.index("person"), COCO.index("car")]])
        assert torch.equal(tensor[2], fresh[name][2]) and torch.equal(tensor[3:], state[name][80:])


def test_the_width_of_the_file_is_told_stored_and_resumed(tmp_path, caplog):
    root = write_rectangles(tmp_path / "data", train=8, val=2)
    first = tiny_experiment(root, tmp_path / "runs", epochs=1)
    saved(tmp_path / "many.ckpt", first, MANY)
    result = fit(first.model_copy(update={"init": Init(weights=str(tmp_path / "many.ckpt"))}), progress=False)
    assert "model.head.class_width=40, not the 16 of 2 classes: as wide as in" in caplog.text
    assert "the rows of 2 of 2 classes were taken by name: red, blue" in caplog.text
    assert load_detector(result.paths["last"]).experiment.model.head.class_width == 40


@pytest.mark.parametrize(
    "model",
    [
        tiny_model(head=DenseHead(class_width=24)),
        tiny_model(head=DenseHead(bins=8)),
        tiny_model().model_copy(update={"neck": tiny_model().neck.model_copy(update={"widths": (24, 16, 16)})}),
    ],
    ids=["asked for", "other boxes", "other maps"],
)
def test_what_is_asked_for_and_other_heads_stay_as_they_are(model, tmp_path, caplog):
    saved(tmp_path / "many.ckpt", tiny_experiment(tmp_path, tmp_path), MANY)
    experiment = tiny_experiment(tmp_path, tmp_path, model=model)
    experiment = experiment.model_copy(update={"init": Init(weights=str(tmp_path / "many.ckpt"))})
    assert as_wide_as_init(experiment, 2) == (experiment, "")
    new_detector(experiment, 2, ("red", "blue"))
    assert (
        "the rows of 0 of 2 classes were taken by name; not where they are of another width: head.class_branch" in caplog.text
    )
