"""Steps whose loss or gradient is not finite: skipped without a trace, told, counted; several in a row end the run."""

import csv
import math

import pytest
import torch

from detkit.detectors.base import ComposedDetector
from detkit.recipes import SGD
from detkit.train.averaging import MovingAverage
from detkit.train.broken import BrokenSteps
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from tests.train.test_resume import assert_same
from tests.train.tiny import tiny_experiment, tiny_rtdetr

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


def rows(run):
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def names(run):
    return sorted(path.name for path in (run / "broken").iterdir())


@pytest.mark.parametrize("optimizer", [None, SGD(lr=0.01)], ids=["adamw", "sgd"])
@pytest.mark.parametrize("where", ["image", "box", "loss", "gradient"])
@pytest.mark.parametrize("family", MODELS)
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
    assert ("loss class is inf" in said) == (where == "loss")
    assert said.count(".png") == (6 if where == "gradient" else 4)
    assert f"tools/replay.py {result.run / 'broken' / 'step-000002.pt'}" in said
