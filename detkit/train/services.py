"""Runs at Weights & Biases and MLflow: begun before the first step, gone on with by a resumed run, and no reason to end one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger

from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.spec import to_dict
from detkit.train.runs import tell, told
from detkit.weights.files import replace_file

ADVICE = {
    "wandb": "log in with `wandb login`, or set WANDB_MODE=offline",
    "mlflow": "look at MLFLOW_TRACKING_URI; without it, runs are written beside their folders",
}


class Line:
    """The line to a service: when it breaks, that is told once, and nothing more is sent.

    Attributes:
        file: in the run folder; holds the service's id of the run.
    """

    def __init__(self, service: str, run: Path) -> None:
        self.service, self.file = service, run / f"{service}-run.txt"
        self._errors = (OSError, _error(service))
        self._broken = False

    @property
    def known(self) -> str | None:
        """The id of the run that a resumed one goes on with; None for a new one."""
        return self.file.read_text(encoding="utf-8").strip() if self.file.is_file() else None

    @contextmanager
    def refusals(self) -> Iterator[None]:
        """Turn what the service refuses into a user's error."""
        try:
            yield
        except self._errors as error:
            other = f", or remove {self.file} to begin another one" if self.known else ""
            raise UserError(f"logger={self.service}: no run can be begun ({error}); {ADVICE[self.service]}{other}") from error

    def send(self, action: Callable[[], None]) -> None:
        """Do something at the service, if the line is not broken."""
        if self._broken:
            return
        try:
            action()
        except self._errors as error:
            self._broken = True
            tell(f"{self.service} cannot be reached and gets nothing more until the run is resumed: {error}")


def _error(service: str) -> type[Exception]:
    """Return what a service's package raises."""
    if service == "wandb":
        import wandb

        return cast(type[Exception], wandb.Error)
    from mlflow.exceptions import MlflowException

    return cast(type[Exception], MlflowException)


class WandbRun(WandbLogger):
    """Weights & Biases, which takes accounts, servers and offline modes from its own environment variables."""

    def __init__(self, run: Path) -> None:
        self.line = Line("wandb", run)
        project = os.environ.get("WANDB_PROJECT", "detkit")
        super().__init__(name=f"{run.parent.name}/{run.name}", save_dir=run, project=project, id=self.line.known)
        self._ends = True

    def begin(self) -> str:
        """Begin, or go on, and return the run's id; a run that the user's own program has begun is taken and left open."""
        import wandb

        self._ends = wandb.run is None
        return str(self.experiment.id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add numbers."""
        self.line.send(lambda: super(WandbRun, self).log_metrics(metrics, step))

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        """Add a picture."""
        self.line.send(lambda: self.log_image(name, [picture], step))

    def finalize(self, status: str) -> None:
        """End the run there, so that the next one of this process gets its own."""
        if self._ends and self._experiment is not None:
            self.line.send(lambda: self.experiment.finish(exit_code=int(status != "success")))


class MlflowRun(MLFlowLogger):
    """MLflow: the server that its environment variables name, or a database beside the run folders that all of them share."""

    def __init__(self, run: Path) -> None:
        self.line = Line("mlflow", run)
        kind, number = run.parent.name, run.name
        server, parent = os.environ.get("MLFLOW_TRACKING_URI"), run.parent.parent.resolve()
        with self.line.refusals():
            super().__init__(
                experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", kind),
                run_name=f"{kind}/{number}",
                tracking_uri=server or f"sqlite:///{(parent / 'mlflow.db').as_posix()}",
                artifact_location=None if server else (parent / "mlflow" / kind).as_uri(),
                run_id=self.line.known,
            )

    def begin(self) -> str:
        """Begin, or go on, and return the run's id."""
        self.experiment.update_run(self.run_id, status="RUNNING")
        return str(self.run_id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add numbers."""
        self.line.send(lambda: super(MlflowRun, self).log_metrics(metrics, step))

    def show(self, name: str, picture: np.ndarray, step: int) -> None:
        """Add a picture; MLflow has one of each name."""
        self.line.send(lambda: self.experiment.log_image(self.run_id, picture, f"{name}.png"))

    def finalize(self, status: str = "success") -> None:
        """End the run there."""
        self.line.send(lambda: super(MlflowRun, self).finalize(status))


def begin_run(logger: Logger | None, experiment: Experiment) -> None:
    """Begin a run at the service that a logger writes to, if it does, with the experiment's settings, or go on with one.

    In the first of several processes only.

    Raises:
        UserError: the service refuses.
    """
    if not isinstance(logger, WandbRun | MlflowRun):
        return
    line, known = logger.line, logger.line.known
    with line.refusals():
        number = logger.begin()
        if known is None:
            logger.log_hyperparams(to_dict(experiment))
    with told(f"{line.file} could not be written, so that a resumed run will begin another one at {line.service}"):
        replace_file(line.file, f"{number}\n".encode())
