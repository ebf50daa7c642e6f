"""Pictures of a run: the first training batches as the network gets them, and labels beside predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from detkit.drawing import batch_sheet, comparison_sheet, save_picture
from detkit.errors import UserError
from detkit.structures import Batch
from detkit.train.module import DetectorModule
from detkit.train.runs import told

VAL_PICTURE = "val_batch.jpg"
TRAIN_BATCHES = 3
"""Training batches that are drawn."""


class Pictures(Callback):
    """Writes ``train_batch_<n>.jpg`` once and ``val_batch.jpg`` at every evaluation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Draw a batch at the start of the run."""
        if trainer.is_global_zero and trainer.current_epoch == 0 and batch_idx < TRAIN_BATCHES:
            names = cast(DetectorModule, pl_module).names
            self._save(f"train_batch_{batch_idx}.jpg", batch_sheet(batch, names))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch of an evaluation."""
        if trainer.is_global_zero and batch_idx == 0:
            module = cast(DetectorModule, pl_module)
            found = module.detector.detect(outputs["predictions"])
            self._save(VAL_PICTURE, comparison_sheet(batch, found, module.names))

    def _save(self, name: str, picture: np.ndarray) -> None:
        with told("pictures", UserError):
            save_picture(self.folder / name, picture)
