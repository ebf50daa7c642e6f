"""TensorBoard, Weights & Biases or MLflow: who gets the numbers and pictures of a run besides its own folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from detkit.errors import UserError
from detkit.train.runs import tell
from detkit.train.services import MlflowRun, WandbRun

OPTIONAL = ("wandb", "mlflow")
"""Loggers whose package is an extra of the same name."""


class EventFiles(TensorBoardLogger):
    """TensorBoard's files, without which a run goes on: a full disk is told once, and a new file begun when there is room."""

    def __init__(self, run: Path) -> None:
        super().__init__(run, name="tensorboard", version="")
        self._failing = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add numbers."""
        with self._going_on():
            super().log_metrics(metrics, step)
            self._failing = False

    def save(self) -> None:
        """Write what is waiting."""
        with self._going_on():
            super().save()

    def finalize(self, status: str) -> None:
        """Close the file."""
        with self._going_on():
            super().finalize(status)

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if not isinstance(error, OSError) and not isinstance(error.__cause__, OSError):  # as log_metrics hands it on
                raise
            if not self._failing:
                tell(f"{self.log_dir} could not be written and will lack numbers: {error.__cause__ or error}")
            self._failing = True
            self._experiment = None


def check_logger(name: str) -> None:
    """Check that a logger's package is there.

    Raises:
        UserError: it isn't.
    """
    if name in OPTIONAL and find_spec(name) is None:
        raise UserError(f'logger={name} needs the package {name}, which is not installed; pip install "detkit[{name}]"')


def make_logger(name: str, run: Path) -> Logger | bool:
    """Return Lightning's logger of a run; False where ``metrics.csv`` is enough.

    Raises:
        UserError: its service refuses.
    """
    kinds: dict[str, Callable[[Path], Logger]] = {"tensorboard": EventFiles, "wandb": WandbRun, "mlflow": MlflowRun}
    return kinds[name](run) if name in kinds else False


def log_pictures(logger: Logger | None, pictures: Mapping[str, np.ndarray], step: int) -> None:
    """Give (H, W, 3) uint8 RGB pictures to a logger under their names."""
    for name, picture in pictures.items():
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HWC")
        elif isinstance(logger, WandbRun | MlflowRun):
            logger.show(name, picture, step)
