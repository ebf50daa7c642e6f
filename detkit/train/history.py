"""``metrics.csv``: one row an epoch, kept in the checkpoint too, so that a resumed run continues it and never doubles it."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from detkit.evaluation.coco import ClassResult, CocoResult
from detkit.evaluation.confidence import WorkingPoint
from detkit.train.gather import gathered
from detkit.train.module import DetectorModule
from detkit.train.runs import told
from detkit.weights.files import replace_file

Row = dict[str, float]

LOGGED = ("loss", "lr")
"""Numbers of a row that loggers and the progress bar get from here; all others reach them as they are computed."""
NOT_THERE = -1
"""COCO's number where there are no boxes to find."""
SHARES = "losses"
"""Entry of a checkpoint that holds the unfinished row's sums of each of several processes."""


class History(Callback):
    """Collects losses, COCO's numbers, learning rate and seconds of every epoch, and the best and the last result.

    Attributes:
        rows: of the finished epochs; an epoch without evaluation has no COCO numbers.
        best: (epoch from 1, result) of the highest AP so far; None where there are no boxes to find.
        last: (epoch from 1, result) of the latest evaluation.
        begun: whether a batch has been trained on.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[Row] = []
        self.best: tuple[int, CocoResult] | None = None
        self.last: tuple[int, CocoResult] | None = None
        self._sums: dict[str, Tensor] = {}
        self._share: dict[str, Tensor] | None = None
        self._step: list[dict[str, Tensor]] = []
        self._steps = 0
        self._batches = 0
        self.begun = False
        self._seconds = 0.0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch that is resumed; remember the steps of the run."""
        self._steps = trainer.global_step
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start a row."""
        self._sums, self._batches, self._seconds = {}, 0, 0.0
        self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the losses of a step where they are, without reading them; those of a dropped step are left out."""
        module, self.begun = cast(DetectorModule, pl_module), True
        self._step.append(module.losses)
        stepped, self._steps = trainer.global_step > self._steps, trainer.global_step
        if stepped:
            for losses in () if module.dropped else self._step:
                self._add(losses)
            self._step = []

    def _add(self, losses: dict[str, Tensor]) -> None:
        for name, loss in losses.items():
            self._sums[name] = loss + self._sums[name].to(loss.device) if name in self._sums else loss.clone()
        self._batches += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish the row, log what nobody else does, and write the file."""
        epoch = trainer.current_epoch + 1
        module = cast(DetectorModule, pl_module)
        row: Row = {"epoch": epoch, **self._mean_losses(trainer, module.losses)}
        result = module.result
        if result is not None:
            row |= result.scalars()
            self.last = (epoch, result)
            if result.numbers["AP"] >= 0 and (self.best is None or _single(result) > _single(self.best[1])):
                self.best = self.last
        row["lr"] = trainer.optimizers[0].param_groups[-1]["lr"]
        row["skipped"] = module.skipped - sum(earlier.get("skipped", 0) for earlier in self.rows)
        row["seconds"] = round(self._elapsed(), 3)
        self.rows.append(row)
        pl_module.log_dict({name: row[name] for name in LOGGED}, batch_size=1)
        if trainer.is_global_zero:
            with told(f"{self.file} is not up to date"):
                write_table(self.rows, self.file)

    def _mean_losses(self, trainer: Trainer, latest: Iterable[str]) -> Row:
        """Return the mean of each loss over the batches of all processes, and of their sum; NaN where no step was taken."""
        if not self._batches:
            return dict.fromkeys(["loss", *(f"loss_{name}" for name in latest)], math.nan)
        names = list(self._sums)
        means = torch.stack([self._sums[name] for name in names]) / self._batches
        values = trainer.strategy.reduce(means, reduce_op="mean").tolist()
        return {"loss": sum(values), **{f"loss_{name}": value for name, value in zip(names, values, strict=True)}}

    def _elapsed(self) -> float:
        return self._seconds + time.monotonic() - self._started

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the sums of all processes: each has seen other images."""
        if trainer.world_size > 1:
            checkpoint[SHARES] = gathered(trainer, {name: value.cpu() for name, value in self._sums.items()})

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember this process's sums; with another number of processes an epoch starts anew, and none are needed."""
        shares = checkpoint.get(SHARES, ())
        self._share = shares[trainer.global_rank] if trainer.global_rank < len(shares) else None

    def state_dict(self) -> dict[str, Any]:
        """Return finished and unfinished rows as plain data and tensors."""
        return {
            "rows": self.rows,
            "best": plain(self.best),
            "last": plain(self.last),
            "sums": {name: value.cpu() for name, value in self._sums.items()},
            "batches": self._batches,
            "seconds": self._elapsed(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint was saved; rows that were written after it are written anew."""
        self.rows = state_dict["rows"]
        self.best, self.last = parse(state_dict["best"]), parse(state_dict["last"])
        self._sums = state_dict["sums"] if self._share is None else self._share
        self._batches = state_dict["batches"]
        self._seconds = state_dict["seconds"]


def write_table(rows: list[Row], file: Path) -> None:
    """Replace ``file`` by a CSV of the rows; a cell is empty where a row lacks it, or there are no boxes to find."""
    widest = max(rows, key=len)
    names = [*widest, *dict.fromkeys(name for row in rows for name in row if name not in widest)]
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value == NOT_THERE else value for name, value in row.items()} for row in rows)
    replace_file(file, text.getvalue().encode())


def _single(result: CocoResult) -> float:
    """Return AP in the precision that Lightning logs and compares it in, so that ``best`` is what best.ckpt holds."""
    return torch.tensor(result.numbers["AP"], dtype=torch.float32).item()


def plain(scored: tuple[int, CocoResult] | None) -> dict[str, Any] | None:
    """Return an epoch's result as plain data."""
    if scored is None:
        return None
    epoch, result = scored
    return {
        "epoch": epoch,
        "numbers": result.numbers,
        "classes": {name: list(item) for name, item in result.classes.items()},
        "images": result.images,
        "boxes": result.boxes,
        "unreadable": list(result.unreadable),
        "point": result.point and list(result.point),
    }


def parse(stored: dict[str, Any] | None) -> tuple[int, CocoResult] | None:
    """Return what `plain` was given."""
    if stored is None:
        return None
    classes = {name: ClassResult(*item) for name, item in stored["classes"].items()}
    unreadable, point = tuple(stored.get("unreadable", ())), stored.get("point")  # which earlier checkpoints lack
    counts = (stored["images"], stored["boxes"])
    return stored["epoch"], CocoResult(stored["numbers"], classes, *counts, unreadable, point and WorkingPoint(*point))
