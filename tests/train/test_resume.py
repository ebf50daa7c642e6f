"""A run that was stopped and resumed equals the run that was not, to the bit."""

import csv
import os
import shutil
import signal

import pytest
import torch

from detkit.cli.config import load_config
from detkit.errors import UserError
from detkit.overrides import override
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from tests.train.tiny import tiny_experiment


@pytest.fixture(scope="module")
def whole(rectangles, tmp_path_factory):
    """The run that nothing stopped."""
    return fit(tiny_experiment(rectangles, tmp_path_factory.mktemp("whole")), progress=False).run


def stop_at(monkeypatch, step, epoch, batch):
    """Send SIGINT to this process in a step of the module."""
    original = getattr(DetectorModule, step)

    def stopping(self, images, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (epoch, batch):
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, images, batch_idx)

    monkeypatch.setattr(DetectorModule, step, stopping)


def resume(run):
    return fit(load_config(str(run / "config.json")), resume=run, progress=False)


def state(run):
    return torch.load(run / "last.ckpt", weights_only=True)


def assert_same(ours, theirs, where=""):
    """Compare nested plain data and tensors exactly."""
    assert type(ours) is type(theirs), where
    if isinstance(ours, dict):
        assert list(ours) == list(theirs), where
        for key in ours:
            assert_same(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(ours, list | tuple):
        assert len(ours) == len(theirs), where
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{where}.{i}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


def rows(run):
    with (run / "metrics.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(run, other):
    ours, theirs = state(run), state(other)
    for entry in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "epoch", "global_step", "random"):
        assert_same(ours[entry], theirs[entry], entry)
    assert rows(run) == rows(other)
    assert len(rows(run)) == 4
    assert (
        torch.load(run / "best.ckpt", weights_only=True)["epoch"] == torch.load(other / "best.ckpt", weights_only=True)["epoch"]
    )


STOPS = {
    "after two epochs": ("validation_step", 1, 1),
    "in mid-epoch": ("training_step", 2, 0),
    "between gradients that are summed": ("training_step", 3, 2),
    "in validation": ("validation_step", 2, 0),
    "before validation": ("training_step", 1, 4),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_stopped_and_resumed_run_equals_the_whole_one(whole, rectangles, tmp_path, monkeypatch, stop):
    stop_at(monkeypatch, *stop)
    stopped = fit(tiny_experiment(rectangles, tmp_path), progress=False)
    monkeypatch.undo()
    assert stopped.interrupted
    assert len(rows(stopped.run)) < 4

    resumed = resume(stopped.run)

    assert resumed.run == stopped.run
    assert not resumed.interrupted
    assert_same_run(resumed.run, whole)


def test_a_refused_resume_leaves_the_run_as_it_was(rectangles, tmp_path, monkeypatch):
    stop_at(monkeypatch, "training_step", 1, 2)
    stopped = fit(tiny_experiment(rectangles, tmp_path, epochs=2), progress=False)
    monkeypatch.undo()
    before = (stopped.run / "config.json").read_text()
    larger = override(load_config(str(stopped.run / "config.json")), ["recipe.batch=6"])
    with pytest.raises(UserError, match="stopped in mid-epoch"):
        fit(larger, resume=stopped.run, progress=False)
    assert (stopped.run / "config.json").read_text() == before
    assert not resume(stopped.run).interrupted


def test_workers_make_no_difference(whole, rectangles, tmp_path, monkeypatch):
    stop_at(monkeypatch, "training_step", 2, 0)
    stopped = fit(tiny_experiment(rectangles, tmp_path, data={"workers": 2}), progress=False)
    monkeypatch.undo()
    assert_same_run(resume(stopped.run).run, whole)


def test_a_copied_run_resumes_too_and_keeps_its_best(whole, rectangles, tmp_path, monkeypatch):
    stop_at(monkeypatch, "training_step", 3, 0)
    stopped = fit(tiny_experiment(rectangles, tmp_path), progress=False)
    monkeypatch.undo()
    copy = tmp_path / "elsewhere" / "0"
    shutil.move(stopped.run, copy)
    assert_same_run(resume(copy).run, whole)


def test_a_run_that_crashed_resumes_from_its_last_step_checkpoint(whole, rectangles, tmp_path, monkeypatch):
    original = DetectorModule.training_step

    def crashing(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (3, 4):
            raise RuntimeError("crashed")
        return original(self, batch, batch_idx)

    monkeypatch.setattr(DetectorModule, "training_step", crashing)
    with pytest.raises(RuntimeError, match="crashed"):
        fit(tiny_experiment(rectangles, tmp_path, checkpoint_steps=1), progress=False)
    monkeypatch.undo()
    run = tmp_path / "run" / "0"
    assert state(run)["global_step"] == state(whole)["global_step"] - 1
    assert_same_run(resume(run).run, whole)


def test_evaluation_that_draws_random_numbers_changes_nothing(whole, rectangles, tmp_path, monkeypatch):
    original = DetectorModule.validation_step

    def drawing(self, batch, batch_idx):
        torch.rand(1)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(DetectorModule, "validation_step", drawing)
    assert_same_run(fit(tiny_experiment(rectangles, tmp_path), progress=False).run, whole)
