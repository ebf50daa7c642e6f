"""What is told before the first step: nothing of it stops a run."""

import pytest

from detkit.experiment import Init
from detkit.recipes import SGD, AdamW, detr_recipe, yolo_recipe
from detkit.train.optimization import derive
from detkit.train.start import new_detector, note_learning_rate
from detkit.weights.checkpoint import PREFIX, header, write_checkpoint
from tests.train.tiny import tiny_experiment, tiny_model, tiny_rtdetr


def told(caplog):
    return "\n".join(record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("recipe", "images", "optimizer"),
    [
        (yolo_recipe(), 1000, r"AdamW(lr=0.001667)"),  # derived
        (yolo_recipe(), 118_000, "SGD(lr=0.01)"),  # derived for a long run
        (detr_recipe(optimizer=SGD(lr=0.005)), 1000, "SGD(lr=0.005)"),
        (detr_recipe(optimizer=SGD(lr=0.0001)), 1000, "SGD(lr=0.0001)"),  # at no rate
        (detr_recipe(optimizer=AdamW(lr=0.002)), 1000, "AdamW(lr=0.002)"),
        (detr_recipe(optimizer=AdamW(lr=0.001)), 1000, None),
        (detr_recipe(), 1000, None),
    ],
)
def test_a_learning_rate_of_yolos_kind_warns_for_rtdetr_alone(recipe, images, optimizer, tmp_path, caplog):
    experiment = tiny_experiment(tmp_path, tmp_path).model_copy(update={"recipe": derive(recipe, images, classes=2)})
    assert isinstance(experiment.model, type(tiny_model()))
    note_learning_rate(experiment)
    assert not caplog.records
    note_learning_rate(experiment.model_copy(update={"model": tiny_rtdetr()}))
    expected = (
        f"recipe.optimizer: with {optimizer} RTDETR may learn nothing: it is known to train with AdamW up to 0.001; write "
    )
    expected += "recipe=detr_recipe() in the config, or recipe.optimizer=AdamW(lr=0.001) or less on the command line"
    assert told(caplog) == ("" if optimizer is None else expected)


def test_a_backbone_with_initial_weights_should_not_be_slowed_down(tmp_path, caplog):
    slow = tiny_experiment(tmp_path, tmp_path, model=tiny_rtdetr(), lr_scale={"backbone": 0.1})
    new_detector(tiny_experiment(tmp_path, tmp_path, model=tiny_rtdetr(), lr_scale={"head": 0.1}), 2)
    assert not caplog.records
    detector = new_detector(slow, 2).detector
    assert "recipe.lr_scale slows a backbone down (backbone 0.1) that has nothing loaded" in told(caplog)
    assert "write recipe.lr_scale={} to train it from scratch" in told(caplog)
    caplog.clear()
    state = {PREFIX + name: value for name, value in detector.state_dict().items()}
    write_checkpoint({"state_dict": state} | header(slow, ("red", "blue")), tmp_path / "best.ckpt")
    new_detector(slow.model_copy(update={"init": Init(weights=str(tmp_path / "best.ckpt"))}), 2)
    assert "slows" not in told(caplog)


def test_frozen_norms_take_the_weights_of_norms_that_learn(tmp_path):
    learns = tiny_experiment(tmp_path, tmp_path, model=tiny_rtdetr())
    state = {PREFIX + name: value for name, value in new_detector(learns, 2).detector.state_dict().items()}
    write_checkpoint({"state_dict": state} | header(learns, ("red", "blue")), tmp_path / "best.ckpt")
    frozen = tiny_experiment(tmp_path, tmp_path, model=tiny_rtdetr(norm="frozen"))
    new_detector(frozen.model_copy(update={"init": Init(weights=str(tmp_path / "best.ckpt"))}), 2)


def test_frozen_norms_that_were_not_loaded_are_told(tmp_path, caplog):
    experiment = tiny_experiment(tmp_path, tmp_path, freeze_norms=("backbone.stem",))
    new_detector(experiment, 2)
    assert "recipe.freeze_norms keeps 1 batch norms at their initial statistics" in told(caplog)
    assert "(backbone.stem.norm, for example); recipe.freeze_norms=true keeps" in told(caplog)


def test_a_learning_rate_is_not_turned_round():
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        yolo_recipe(lr_scale={"backbone": -0.1})
