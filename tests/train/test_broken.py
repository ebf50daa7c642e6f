"""Steps whose loss or gradient is not finite: skipped without a trace, told, counted; several in a row end the run."""

import csv
import math

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from detkit.detectors.base import ComposedDetector
from detkit.errors import UserError
from detkit.parts import Insert
from detkit.recipes import SGD
from detkit.train import trainer as training
from detkit.train.averaging import MovingAverage
from detkit.train.broken import BrokenSteps
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from detkit.weights.checkpoint import read_checkpoint
from tests.train.brittle import Brittle
from tests.train.test_resume import assert_same, assert_same_run, resume, state, stop_at
from tests.train.tiny import tiny_experiment, tiny_model, tiny_rtdetr

MODELS = {"yolo": None, "rtdetr": tiny_rtdetr()}
"""What `tiny_experiment` builds, and the other family."""


def plant(monkeypatch, where, *steps):
    """Make steps break, named by (epoch, batch): in an input pixel, in a target box, in the losses, or in a gradient."""
    original = DetectorModule.training_step
    lost = ComposedDetector.loss

    def training_step(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) in steps:
            if where == "image":
                images = batch.images / 255
                images[1, :, 3, 4] = torch.nan
                batch = batch._replace(images=images)
            elif where == "box":
                boxes = batch.targets.boxes.clone()
                boxes[batch.targets.counts.argmax(), 0, 2] = torch.nan
                batch = batch._replace(targets=batch.targets._replace(boxes=boxes))
            else:
                self.detector.plant = where
        return original(self, batch, batch_idx)

    def loss(self, raw, targets):
        losses = lost(self, raw, targets)
        where, self.plant = getattr(self, "plant", None), None
        if where == "loss":
            losses["class"] = losses["class"].detach() * math.inf  # finite gradients of the others
        elif where == "gradient":
            next(value for value in losses.values() if value.requires_grad).register_hook(lambda grad: grad * math.inf)
        return losses

    monkeypatch.setattr(DetectorModule, "training_step", training_step)
    monkeypatch.setattr(ComposedDetector, "loss", loss)


def spy(monkeypatch):
    """Return a list that gets the weights, buffers and optimizer's state after each optimizer step."""
    seen = []
    original = BrokenSteps.on_train_batch_end

    def look(self, trainer, module, outputs, batch, batch_idx):
        if len(seen) < trainer.global_step:
            [average] = [item._average_model.module for item in trainer.callbacks if isinstance(item, MovingAverage)]
            now = {
                "live": module.state_dict(),
                "average": average.state_dict(),
                "optimizer": trainer.optimizers[0].state_dict(),
            }
            seen.append(torch.utils._pytree.tree_map(lambda x: x.clone() if isinstance(x, torch.Tensor) else x, now))
        original(self, trainer, module, outputs, batch, batch_idx)

    monkeypatch.setattr(BrokenSteps, "on_train_batch_end", look)
    return seen


def checkpoint(run):
    """Return the live weights of the last checkpoint, and the averaged ones."""
    stored = read_checkpoint(run / "last.ckpt")
    return [*stored.live.values(), *stored.weights.values()]


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def names(run):
    return sorted(path.name for path in (run / "broken").iterdir())


PLACES = [(family, where, None) for family in MODELS for where in ("image", "box", "loss", "gradient")]


@pytest.mark.parametrize(
    ("family", "where", "optimizer"),
    [*PLACES, ("yolo", "loss", SGD(lr=0.01))],
    ids=[*(f"{family}-{where}" for family, where, _ in PLACES), "sgd"],
)
def test_a_step_that_breaks_leaves_no_trace(rectangles, tmp_path, monkeypatch, caplog, family, where, optimizer):
    """Five batches of four make steps 1 to 3 of an epoch, 0 and 1, 2 and 3, 4; the second one breaks, in its first batch."""
    seen = spy(monkeypatch)
    plant(monkeypatch, where, (0, 2))
    experiment = tiny_experiment(rectangles, tmp_path, model=MODELS[family], epochs=1, optimizer=optimizer, warmup_steps=0)
    result = fit(experiment, progress=False)
    before, broken, after = seen
    if optimizer is None:
        assert_same(broken["optimizer"]["state"], before["optimizer"]["state"])
    assert_same(broken["live"], before["live"])
    assert_same(broken["average"], before["average"])
    assert not torch.equal(*(next(iter(step["live"].values())) for step in (broken, after)))
    assert result.skipped == 1 and [row["skipped"] for row in rows(result.run)] == ["1"]
    assert math.isfinite(float(rows(result.run)[0]["loss"]))
    assert names(result.run) == ["step-000002.pt"] and result.paths["broken"] == result.run / "broken"
    [said] = [record.message for record in caplog.records if "is skipped" in record.message]
    assert said.startswith("step 2 (epoch 1, batches 3 to 4) is skipped: ")
    assert ("the losses are finite, but not the gradient of" in said) == (where == "gradient")
    assert ("not finite: class inf; " in said) == (where == "loss")
    assert said.count(".png") == (6 if where == "gradient" else 4)
    assert f"tools/replay.py {result.run / 'broken' / 'step-000002.pt'}" in said


@pytest.mark.parametrize("family", MODELS)
def test_two_in_a_row_are_skipped_and_a_resumed_run_skips_them_too(rectangles, tmp_path, monkeypatch, family):
    plant(monkeypatch, "loss", (1, 4), (2, 0), (2, 4), (3, 1))
    experiment = tiny_experiment(rectangles, tmp_path, model=MODELS[family], broken_steps=3)
    whole = fit(experiment, progress=False)
    assert [row["skipped"] for row in rows(whole.run)] == ["0", "1", "2", "1"] and whole.skipped == 4
    with monkeypatch.context() as patch:
        stop_at(patch, "validation_step", 1, 0)
        stopped = fit(experiment, progress=False)
    assert stopped.interrupted and stopped.skipped == 1
    assert state(stopped.run)["callbacks"]["BrokenSteps"] == {"skipped": 1, "row": 1}
    again = resume(stopped.run)
    assert again.skipped == 4
    assert_same_run(again.run, whole.run)


def test_five_in_a_row_end_the_run_with_a_diagnosis(rectangles, tmp_path):
    """From the second epoch on, one image of each batch gets through the network as NaN."""
    model = tiny_model().model_copy(update={"after": {"p3": Insert(block=Brittle(calls=5), gate=False)}})
    with pytest.raises(UserError) as told:
        fit(tiny_experiment(rectangles, tmp_path, model=model), progress=False)
    said = str(told.value)
    assert said.startswith("5 steps in a row broke; in the last one, step 8 (epoch 3, batches 3 to 4), losses that")
    assert (
        "not finite: box nan, class nan, dfl nan; images " in said
        and "First not finite is the output of after.p3.block (BrittleBlock), of " in said
    )
    assert said.split("BrittleBlock), of ")[1].split(". ")[0].count(".png") == 1, "only the image that breaks"
    assert "trainer.precision 32-true" in said and "The learning rate is " in said
    run = tmp_path / "run" / "0"
    assert f"tools/replay.py {run / 'broken' / 'step-000008.pt'}" in said
    assert names(run) == [f"step-{step:06d}.pt" for step in (6, 7, 8)], "no more than three files"
    assert state(run)["global_step"] == 6, "of the last epoch that was finished"
    assert all(value.isfinite().all() for value in checkpoint(run) if value.is_floating_point())


def test_a_first_step_that_breaks_leaves_its_file(rectangles, tmp_path, monkeypatch):
    plant(monkeypatch, "gradient", (0, 0))
    with pytest.raises(UserError, match=r"1 steps in a row broke; .* the losses are finite, but not the gradient of head\."):
        fit(tiny_experiment(rectangles, tmp_path, broken_steps=1, nominal_batch=None), progress=False)
    assert names(tmp_path / "run" / "0") == ["step-000001.pt"]


def test_an_epoch_without_a_step_has_no_loss(rectangles, tmp_path, monkeypatch):
    plant(monkeypatch, "loss", *((1, batch) for batch in range(5)))
    result = fit(tiny_experiment(rectangles, tmp_path, epochs=3), progress=False)
    first, second, third = rows(result.run)
    assert second["loss"] == second["loss_box"] == "nan" and second["skipped"] == "3"
    assert math.isfinite(float(first["loss"])) and math.isfinite(float(third["loss"]))


def test_weights_that_overflow_are_neither_evaluated_nor_saved(rectangles, tmp_path, monkeypatch):
    monkeypatch.setattr(DetectorModule, "on_validation_epoch_start", None)
    experiment = tiny_experiment(rectangles, tmp_path, optimizer=SGD(lr=3e38), warmup_steps=0, clip=None)
    with pytest.raises(
        UserError, match=r"the weights are not finite after step 1 of epoch 1\. The learning rate is 3e\+38"
    ) as told:
        fit(experiment, progress=False)
    assert str(told.value).endswith("To go on: a smaller recipe.optimizer.lr or recipe.clip"), "32-true it is already"
    assert not list((tmp_path / "run" / "0").glob("*.ckpt"))
    assert not (tmp_path / "run" / "0" / "broken").exists(), "no image is to blame"


@pytest.mark.parametrize("change", [{"clip": None}, {"clip": 0.1}], ids=str)
def test_the_measured_norm_clips_as_lightning_does(rectangles, tmp_path, monkeypatch, change):
    ours = fit(tiny_experiment(rectangles, tmp_path, epochs=1, **change), progress=False)
    monkeypatch.delattr(DetectorModule, "configure_gradient_clipping")
    theirs = fit(tiny_experiment(rectangles, tmp_path, epochs=1, **change), progress=False)
    assert_same(state(ours.run)["state_dict"], state(theirs.run)["state_dict"])


@pytest.mark.parametrize(("scale", "skipped"), [(65536.0, 0), (1.0, 1)], ids=["searching", "found"])
def test_a_scale_that_is_searched_for_is_no_fault(rectangles, tmp_path, monkeypatch, scale, skipped):
    """Lightning has no 16-mixed on the CPU, but torch has all that it is made of."""
    precision = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))
    plant(monkeypatch, "gradient", (0, 2))
    original = training.Trainer
    made = lambda plugins, **options: original(plugins=[*plugins, precision], **options)  # noqa: E731
    monkeypatch.setattr(training, "Trainer", made)
    result = fit(tiny_experiment(rectangles, tmp_path, epochs=1), progress=False)
    assert result.skipped == skipped and precision.scaler.get_scale() <= scale / 2


def test_progress_counts_them(rectangles, tmp_path, monkeypatch, capsys):
    plant(monkeypatch, "image", (0, 1))
    fit(tiny_experiment(rectangles, tmp_path, epochs=1))
    assert "  skipped 1  " in capsys.readouterr().err
