"""Plots of a run that is stopped and goes on, and runs that outlive drawings that fail."""

import math
import os
import signal

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from detkit.cli.config import load_config
from detkit.errors import UserError
from detkit.figures.tables import numbers, read_table
from detkit.overrides import override
from detkit.train import plots
from detkit.train.evaluate import evaluate
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from detkit.train.runs import told
from tests.figures.test_reports import PICTURES
from tests.train.tiny import tiny_experiment

RUN = {"losses", "scores", "labels", "label_centres", "label_sizes"}


def drawn(folder):
    return {path.stem for path in folder.glob("*.png")}


@pytest.fixture(scope="module")
def stopped(rectangles, tmp_path_factory):
    """A run of two epochs that was stopped in its second, and what it had drawn by then."""
    step = DetectorModule.training_step

    def stopping(self, batch, batch_idx):
        if (self.trainer.current_epoch, batch_idx) == (1, 0):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, batch_idx)

    experiment = tiny_experiment(rectangles, tmp_path_factory.mktemp("runs"), epochs=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DetectorModule, "training_step", stopping)
        result = fit(override(experiment, ["plots=true", "logger=tensorboard"]), progress=False)
    return result, {name: drawn(result.run / "plots" / name) for name in ("", "best", "last")}


def test_a_stopped_run_draws_what_there_is(stopped):
    result, seen = stopped
    assert result.interrupted and result.paths["plots"] == result.run / "plots"
    assert seen == {"": RUN, "best": PICTURES, "last": PICTURES}


def test_a_resumed_run_draws_anew_from_all_epochs(stopped):
    run = stopped[0].run
    for path in (run / "plots").rglob("*.png"):
        path.unlink()
    result = fit(load_config(str(run / "config.json")), resume=run, progress=False)
    folder = run / "plots"
    assert (drawn(folder), drawn(folder / "best"), drawn(folder / "last")) == (RUN, PICTURES, PICTURES)
    header, rows = read_table(folder / "scores.csv")
    assert [row[0] for row in rows] == ["1", "2"] and header[-3:] == ["precision", "recall", "F1"]
    scored = [value if value >= 0 else math.nan for value in map(result.last.scalars().get, header[1:])]
    assert numbers(rows[1][1:]) == pytest.approx(scored, abs=1e-5, nan_ok=True)
    for name, scored in (("best", result.best), ("last", result.last)):
        _, classes = read_table(folder / name / "classes.csv")
        assert [float(row[2]) for row in classes] == pytest.approx([item.ap for item in scored.classes.values()], abs=1e-5)
    tags, logged = set(), set()
    for file in (run / "tensorboard").glob("events*"):
        events = EventAccumulator(str(file)).Reload()
        tags |= set(events.Tags()["images"])
        logged |= set(events.Tags()["scalars"])
    assert {"loss", "lr", "AP", "F1"} <= logged
    assert {f"best/{name}" for name in PICTURES} | {f"last/{name}" for name in PICTURES} | RUN == tags


def test_evaluation_draws_what_the_run_drew(stopped, tmp_path):
    run = stopped[0].run
    scored = evaluate(run / "last.ckpt", output=tmp_path, progress=False)
    assert drawn(scored.paths["plots"]) == PICTURES
    for name in ("f1.csv", "confusion.csv", "worst_false.csv"):
        assert (tmp_path / "plots" / name).read_text() == (run / "plots" / "last" / name).read_text()
    assert "plots" not in evaluate(run / "last.ckpt", ["plots=false"], output=tmp_path / "bare", progress=False).paths


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("odd"), RuntimeError("no font"), UserError("no")])
def test_what_fails_in_drawing_is_told(error, caplog):
    with told(plots.FAILED, *plots.KINDS):
        raise error
    assert "plots could not be drawn" in caplog.text and str(error) in caplog.text


def test_a_run_outlives_plots_that_fail(rectangles, tmp_path, monkeypatch, caplog):
    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(plots, "write_evaluation", full)
    monkeypatch.setattr(plots, "draw_run", full)
    result = fit(override(tiny_experiment(rectangles, tmp_path, epochs=1), ["plots=true"]), progress=False)
    assert result.last is not None and caplog.text.count("disk full") == 3
    assert not (result.run / "plots").exists()
