"""Run folders: ``runs/<name>/<n>/``, and the ``config.json`` that says all about a run."""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import lightning
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from detkit import __version__
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.spec import to_dict, user_modules
from detkit.train.module import DetectorModule
from detkit.weights.files import remove_partials, replace_file

log = logging.getLogger(__name__)

CONFIG = "config.json"


@rank_zero_only
def tell(message: str) -> None:
    """Log a warning, in the first of several processes only."""
    log.warning(message)


@contextmanager
def told(what: str, *kinds: type[Exception]) -> Iterator[None]:
    """Tell of a file that cannot be written, or of errors of further ``kinds``, and go on: a run is worth more than that."""
    failures: tuple[type[Exception], ...] = (OSError, *kinds)
    try:
        yield
    except failures as error:
        tell(f"{what}: {error if isinstance(error, UserError) else f'{type(error).__name__}: {error}'}")


def new_run(parent: Path) -> Path:
    """Create the next of the folders ``parent``/0, 1, 2, ...; two runs that start at once get two folders.

    Raises:
        UserError: it cannot be created.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = max((int(path.name) for path in parent.iterdir() if path.name.isdecimal()), default=-1) + 1
        while True:
            run = parent / str(number)
            try:
                run.mkdir()
                return run
            except FileExistsError:
                number += 1
    except OSError as error:
        raise UserError(f"output: cannot create a run folder in {parent}: {error.strerror or error}") from None


class Configuration(Callback):
    """Writes ``config.json`` when training starts: a resumed run that is refused before keeps the one it has.

    What a killed run left of files that it was writing goes.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write it, in the first of several processes only."""
        module = cast(DetectorModule, pl_module)
        if trainer.is_global_zero:
            remove_partials(self.run)
            try:
                write_config(self.run, module.experiment, module.names)
            except OSError as error:
                raise UserError(f"{self.run / CONFIG} cannot be written: {error.strerror or error}") from None


def write_config(run: Path, experiment: Experiment, names: Sequence[str]) -> None:
    """Write the resolved experiment, the class names and the versions of what it ran on."""
    content = {
        "experiment": to_dict(experiment),
        "modules": user_modules(experiment),
        "classes": list(names),
        "versions": {
            "detkit": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
        },
    }
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    replace_file(run / CONFIG, text.encode())
