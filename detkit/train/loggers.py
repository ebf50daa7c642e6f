"""TensorBoard, Weights & Biases or MLflow: who gets the numbers and pictures of a run besides its own folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from detkit.errors import UserError

OPTIONAL = ("wandb", "mlflow")
"""Loggers whose package is an extra of the same name."""


def check_logger(name: str) -> None:
    """Check that a logger's package is there.

    Raises:
        UserError: it isn't.
    """
    if name in OPTIONAL and find_spec(name) is None:
        raise UserError(f'logger={name} needs the package {name}, which is not installed; pip install "detkit[{name}]"')


def make_logger(name: str, run: Path) -> Logger | bool:
    """Return Lightning's logger of a run; False where ``metrics.csv`` is enough.

    wandb and mlflow take accounts, servers and offline modes from their own environment variables, without which wandb's
    project is detkit and mlflow writes into the run folder.
    """
    kind, number = run.parent.name, run.name
    if name == "tensorboard":
        return TensorBoardLogger(run, name="tensorboard", version="")
    if name == "wandb":
        return WandbLogger(name=f"{kind}/{number}", save_dir=run, project=os.environ.get("WANDB_PROJECT", "detkit"))
    if name == "mlflow":
        return MLFlowLogger(experiment_name=kind, run_name=number, save_dir=str(run / "mlruns"))
    return False


def log_pictures(logger: Logger | None, pictures: Mapping[str, np.ndarray], step: int) -> None:
    """Give (H, W, 3) uint8 RGB pictures to a logger under their names."""
    for name, picture in pictures.items():
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [picture])
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, picture, f"{name}.png")
