"""Weights & Biases and MLflow: what they are given, and that a run goes on in the run that it had there."""

import inspect
import os

import numpy as np
import pytest

from detkit.cli.config import load_config
from detkit.errors import UserError
from detkit.overrides import override
from detkit.train.fit import fit
from detkit.train.loggers import log_pictures, make_logger
from detkit.train.services import begin_run
from tests.train import services
from tests.train.tiny import tiny_experiment, write_rectangles

PICTURES = {"best/f1": np.zeros((4, 5, 3), np.uint8)}
NAMES = ("wandb", "mlflow")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def runs(name, monkeypatch):
    return {"wandb": services.fake_wandb, "mlflow": services.fake_mlflow}[name](monkeypatch)


def begun(name, run, tmp_path):
    run.mkdir(parents=True, exist_ok=True)
    logger = make_logger(name, run)
    begin_run(logger, tiny_experiment(tmp_path, tmp_path))
    return logger


def test_a_resumed_run_goes_on_where_it_was(name, runs, tmp_path):
    first = begun(name, tmp_path / "yolo11n" / "3", tmp_path)
    first.log_metrics({"AP": 0.25}, 7)
    first.finalize("failed")
    again = begun(name, tmp_path / "yolo11n" / "3", tmp_path)
    again.log_metrics({"AP": 0.5}, 9)
    log_pictures(again, PICTURES, 9)
    again.finalize("success")
    [(number, run)] = runs.items()
    assert (tmp_path / "yolo11n" / "3" / f"{name}-run.txt").read_text() == f"{number}\n"
    assert [row["AP"] for row in run.metrics if "AP" in row] == [0.25, 0.5]
    assert list(run.pictures.values()) == [(4, 5, 3)]
    assert "recipe" in run.settings or "recipe/epochs" in run.settings
    assert (run.ends == [1, 0]) if name == "wandb" else (run.states == ["RUNNING", "FAILED", "RUNNING", "FINISHED"])


def test_the_next_run_of_a_process_is_another_one(name, runs, tmp_path):
    for number in "01":
        begun(name, tmp_path / "a" / number, tmp_path).finalize("success")
    assert len(runs) == 2


def test_a_service_that_goes_away_ends_no_run(name, runs, tmp_path, caplog):
    logger = begun(name, tmp_path / "a" / "0", tmp_path)
    [run] = runs.values()
    run.broken = True
    if name == "mlflow":
        run.states.append("broken")
    for step in range(3):
        logger.log_metrics({"AP": 0.5}, step)
    log_pictures(logger, PICTURES, 3)
    logger.finalize("success")
    [told] = [record.message for record in caplog.records if "cannot be reached" in record.message]
    assert told.startswith(f"{name} cannot be reached and gets nothing more until the run is resumed: the service is gone")


def test_a_service_that_refuses_is_a_sentence(name, runs, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "forbidden")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "forbidden://")
    with pytest.raises(UserError, match=rf"^logger={name}: no run can be begun \(no .*\); (log in|look at)"):
        begun(name, tmp_path / "a" / "0", tmp_path)


def test_mlflow_forgot_the_run(tmp_path, monkeypatch):
    runs = services.fake_mlflow(monkeypatch)
    begun("mlflow", tmp_path / "a" / "0", tmp_path)
    runs.clear()
    with pytest.raises(UserError, match=r"no run run0.* or remove .*mlflow-run\.txt to begin another one"):
        begun("mlflow", tmp_path / "a" / "0", tmp_path)


def test_mlflow_keeps_runs_beside_their_folders(tmp_path, monkeypatch):
    services.fake_mlflow(monkeypatch)
    logger = begun("mlflow", tmp_path / "runs" / "yolo11n" / "0", tmp_path)
    assert logger.experiment.tracking_uri == f"sqlite:///{tmp_path.resolve().as_posix()}/runs/mlflow.db"
    assert logger.experiment.place == (tmp_path / "runs" / "mlflow" / "yolo11n").resolve().as_uri()


def test_a_run_that_the_program_had_begun_is_left_open(tmp_path, monkeypatch):
    runs = services.fake_wandb(monkeypatch)
    own = services.Run("own")
    services.sys.modules["wandb"].run = own
    with pytest.warns(UserWarning, match="already in progress"):
        logger = begun("wandb", tmp_path / "a" / "0", tmp_path)
    logger.finalize("success")
    assert not runs and own.ends == []


def test_training_begins_and_ends_a_run(tmp_path, monkeypatch):
    runs = services.fake_wandb(monkeypatch)
    monkeypatch.setattr("detkit.train.loggers.find_spec", lambda name: name)
    root = write_rectangles(tmp_path / "data", train=4, val=2)
    experiment = override(tiny_experiment(root, tmp_path, epochs=1), ["logger=wandb"])
    fit(experiment, progress=False)
    [run] = runs.values()
    assert run.ends == [0] and run.settings["recipe"]["epochs"] == 1
    assert any("AP" in row for row in run.metrics)


@pytest.mark.parametrize(
    ("module", "path", "fake"),
    [
        ("wandb", "Run.log", services.Run.log),
        ("wandb", "Run.finish", services.Run.finish),
        *[
            ("mlflow", f"MlflowClient.{key}", value)
            for key, value in vars(services.Client).items()
            if inspect.isfunction(value)
        ],
    ],
)
def test_the_stand_ins_take_what_the_real_ones_take(module, path, fake):
    real = pytest.importorskip(module)
    for part in path.split("."):
        real = getattr(real, part)
    assert set(inspect.signature(fake).parameters) <= set(inspect.signature(real).parameters) | {"self"}


def test_wandb_takes_what_a_run_begins_with():
    assert set(inspect.signature(pytest.importorskip("wandb").init).parameters) >= services.BEGINNING


@pytest.mark.slow
def test_the_real_ones(name, tmp_path, monkeypatch):
    pytest.importorskip(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    root = write_rectangles(tmp_path / "data", train=4, val=2)
    experiment = override(tiny_experiment(root, tmp_path / "runs", epochs=1), [f"logger={name}", "plots=true"])
    first = fit(experiment, progress=False)
    number = (first.run / f"{name}-run.txt").read_text().strip()
    stored = load_config(str(first.run / "config.json"))
    fit(override(stored, ["recipe.epochs=2"]), resume=first.run, progress=False)
    assert (first.run / f"{name}-run.txt").read_text().strip() == number
    if name == "wandb":
        assert len(list((first.run / "wandb").glob(f"offline-run-*-{number}"))) == 2
        return
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db")
    [experiment_id] = {client.get_run(number).info.experiment_id}
    [run] = client.search_runs([experiment_id])
    assert run.info.status == "FINISHED" and run.data.params["recipe/epochs"] == "1"
    assert [metric.step for metric in client.get_metric_history(number, "AP")] == [0, 1]
    assert (tmp_path / "runs" / "mlflow" / "run" / number / "artifacts" / "best" / "f1.png").is_file()
