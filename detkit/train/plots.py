"""``plots/``: what a run and its best and latest evaluation look like, drawn when there is time for it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from detkit.data.annotations import Annotations
from detkit.data.images import ImageError, load_annotated
from detkit.errors import UserError
from detkit.evaluation.coco import CocoMetric, CocoResult
from detkit.figures.reports import draw_evaluation, draw_run, write_evaluation
from detkit.figures.worst import ReadImage
from detkit.train.history import History
from detkit.train.interrupt import Interrupted
from detkit.train.loaders import Loaders
from detkit.train.loggers import log_pictures
from detkit.train.module import DetectorModule
from detkit.train.runs import told

PLOTS = "plots"
FAILED, KINDS = "plots could not be drawn", (ValueError, RuntimeError, ImportError, UserError)
"""What is told, and of which errors: a run of hours is worth more than its pictures."""


class Plots(Callback):
    """Writes the tables of each new best evaluation at once, and draws when the run is over or the user stops it.

    ``plots/`` holds the curves of the run and its labels, ``plots/best/`` and ``plots/last/`` two evaluations. A resumed run
    draws a best epoch of before from its tables. Nothing that fails here ends a run: it is told. The first process does it all.
    """

    def __init__(self, folder: Path, history: History) -> None:
        self.folder, self.history = folder, history

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the tables where this epoch is the best so far; its row is in the history already."""
        module = cast(DetectorModule, pl_module)
        if trainer.is_global_zero and module.result is not None and self.history.best is self.history.last:
            with told(FAILED, *KINDS):
                write_tables(module.metric, module.result, self.folder / "best")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw all."""
        if not trainer.is_global_zero:
            return
        module, loaders = cast(DetectorModule, pl_module), cast(Loaders, trainer.datamodule)  # type: ignore[attr-defined]
        assert loaders.train is not None
        pictures: dict[str, np.ndarray] = {}
        with told(FAILED, *KINDS):
            pictures |= draw_run(self.folder, self.history.rows, loaders.train)
        if self.history.last is not None:
            with told(FAILED, *KINDS):
                write_tables(module.metric, self.history.last[1], self.folder / "last")
        read = reader(loaders.val)
        for name in ("best", "last"):
            with told(FAILED, *KINDS):
                if (self.folder / name).is_dir():
                    drawn = draw_evaluation(self.folder / name, read)
                    pictures |= {f"{name}/{stem}": picture for stem, picture in drawn.items()}
        with told(FAILED, *KINDS):
            log_pictures(trainer.logger, pictures, trainer.global_step)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Draw what there is where the user stops the run."""
        if isinstance(exception, Interrupted):
            self.on_train_end(trainer, pl_module)


def write_tables(metric: CocoMetric, result: CocoResult, folder: Path) -> None:
    """Write the tables of the latest evaluation; nothing where this process made none, or there were no boxes to find."""
    diagnosis = metric.diagnosis()
    if diagnosis is not None:
        write_evaluation(folder, result, diagnosis)


def draw_plots(metric: CocoMetric, result: CocoResult, val: Annotations, folder: Path) -> None:
    """Write and draw the latest evaluation; what fails is told."""
    with told(FAILED, *KINDS):
        write_tables(metric, result, folder)
        if folder.is_dir():
            draw_evaluation(folder, reader(val))


def reader(annotations: Annotations) -> ReadImage:
    """Return what reads an image of a split by its path, in the orientation that its boxes are of."""
    rows = {path: row for row, path in enumerate(annotations.paths)}

    def read(path: str) -> np.ndarray:
        if path not in rows:
            raise ImageError(f"{path} is no image of the data any more")
        return load_annotated(path, annotations.size(rows[path]), upright=annotations.upright)

    return read
