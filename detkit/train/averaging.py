"""The exponential moving average of the weights, which is what gets evaluated and saved as best."""

from __future__ import annotations

import itertools
import math
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn

from detkit.train.module import DetectorModule


class MovingAverage(WeightAveraging):
    """Averages after every optimizer step n with decay * (1 - exp(-n / warmup)), buffers included.

    Lightning swaps live and averaged weights for validation and back after it; here they are also swapped back when an
    exception ends it, so that a checkpoint saved then has each in its place.
    """

    def __init__(self, decay: float, warmup: int) -> None:
        super().__init__(use_buffers=True)
        self.decay, self.warmup = decay, warmup
        self._swapped = False

    def weight(self, step: int) -> float:
        """Return what the live weights count for after optimizer step ``step`` (from 1)."""
        return 1 - self.decay * (1 - math.exp(-step / self.warmup))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Average once an optimizer step that was not dropped; nothing is read from the device."""
        if trainer.global_step > self._latest_update_step:
            assert self._average_model is not None
            if not cast(DetectorModule, pl_module).dropped:
                move(self._average_model.module, pl_module, self.weight(trainer.global_step))
            self._latest_update_step = trainer.global_step

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the averaged weights."""
        super().on_validation_epoch_start(trainer, pl_module)
        self._swapped = self._average_model is not None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on with the live weights."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._swapped = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put live and averaged weights back in their places."""
        if self._swapped:
            self._swap_models(pl_module)
            self._swapped = False


@torch.no_grad()
def move(average: nn.Module, live: nn.Module, weight: float) -> None:
    """Move the parameters and buffers of ``average`` towards those of ``live`` by ``weight``; counters are copied."""
    ours, theirs = [], []
    for mine, current in zip(_state(average), _state(live), strict=True):
        if mine.is_floating_point():
            ours.append(mine)
            theirs.append(current)
        else:
            mine.copy_(current)
    torch._foreach_lerp_(ours, theirs, weight)


def _state(module: nn.Module) -> itertools.chain[Tensor]:
    return itertools.chain(module.parameters(), module.buffers())
