"""Who gets numbers and pictures besides the run folder."""

from types import SimpleNamespace

import numpy as np
import pytest
from lightning.pytorch.loggers import TensorBoardLogger

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


def test_pictures_reach_tensorboard():
    seen = []

    class Events(TensorBoardLogger):
        __init__ = object.__init__
        experiment = SimpleNamespace(add_image=lambda name, image, step, dataformats: seen.append((name, step, dataformats)))

    for logger in (Events(), None):
        loggers.log_pictures(logger, PICTURES, 5)
    assert seen == [("best/f1", 5, "HWC")]
