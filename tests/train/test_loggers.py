"""Loggers besides TensorBoard, which are not installed here: what is said, how they are made, and what they are given."""

import inspect
from types import SimpleNamespace

import numpy as np
import pytest
from lightning.pytorch.loggers import MLFlowLogger, TensorBoardLogger, WandbLogger

from detkit.errors import UserError
from detkit.overrides import override
from detkit.train import loggers
from detkit.train.fit import fit
from tests.train.tiny import tiny_experiment

PICTURES = {"best/f1": np.zeros((4, 4, 3), np.uint8)}


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_logger_that_is_missing_is_named_before_any_data(tmp_path, name, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=rf'logger={name} needs .* pip install "detkit\[{name}\]"'):
        fit(override(tiny_experiment(tmp_path / "missing", tmp_path), [f"logger={name}"]))


def test_loggers_that_need_nothing_more(tmp_path):
    for name in ("csv", "tensorboard"):
        loggers.check_logger(name)
    assert loggers.make_logger("csv", tmp_path) is False
    assert isinstance(loggers.make_logger("tensorboard", tmp_path), TensorBoardLogger)


@pytest.mark.parametrize("kind", [WandbLogger, MLFlowLogger])
def test_loggers_are_made_with_arguments_that_they_have(tmp_path, kind, monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    given = inspect.signature(kind)
    monkeypatch.setattr(loggers, kind.__name__, lambda **arguments: given.bind(**arguments).arguments)
    made = loggers.make_logger(kind.__name__.removesuffix("Logger").lower(), tmp_path / "yolo11n" / "3")
    if kind is WandbLogger:
        assert (made["name"], made["project"]) == ("yolo11n/3", "detkit")
    else:
        assert (made["experiment_name"], made["run_name"]) == ("yolo11n", "3")


def test_pictures_reach_each_logger():
    seen = []

    class Wandb(WandbLogger):
        __init__ = object.__init__

        def log_image(self, key, images):
            seen.append((key, images[0].shape))

    class MLFlow(MLFlowLogger):
        __init__ = object.__init__
        run_id = "7"
        experiment = SimpleNamespace(log_image=lambda run, image, file: seen.append((run, file, image.shape)))

    for logger in (Wandb(), MLFlow(), None):
        loggers.log_pictures(logger, PICTURES, 5)
    assert seen == [("best/f1", (4, 4, 3)), ("7", "best/f1.png", (4, 4, 3))]
