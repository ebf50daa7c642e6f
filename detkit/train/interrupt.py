"""Ctrl-C and SIGTERM: the run stops at the next point that it can be resumed from exactly; a second signal kills."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """The user stopped the run; ``last.ckpt`` holds its state."""


class Interruption(Callback):
    """Turns signals into a stop with a checkpoint.

    Training stops after an optimizer step (gradients that are still being summed are in no checkpoint), validation between
    two of its batches; a run resumed from there validates anew from the first image. All processes stop together.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self._asked = False
        self._saved_steps = 0
        self._steps = 0
        self._previous: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to listen; Lightning's own handlers come back at the end."""
        self._steps = trainer.global_step
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._receive)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop listening."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop between two epochs, where the checkpoint has just been saved."""
        if self._saved_steps and self._agreed(trainer):
            raise Interrupted

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after an optimizer step, unless evaluation comes next."""
        stepped, self._steps = trainer.global_step > self._steps, trainer.global_step
        if stepped and not trainer.is_last_batch and self._agreed(trainer):
            raise Interrupted

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stop between two batches of evaluation."""
        if self._agreed(trainer):
            progress = trainer.fit_loop.epoch_loop.val_loop.batch_progress
            progress.reset()  # as in its first batch: Lightning then runs the whole evaluation when it resumes
            progress.increment_ready()
            progress.increment_started()
            raise Interrupted

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember how far a checkpoint exists."""
        self._saved_steps = trainer.global_step

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save, now that live and averaged weights are in their places; after a real error the last good file stays."""
        if isinstance(exception, Interrupted) and self._saved_steps != trainer.global_step:
            trainer.save_checkpoint(self.checkpoint)
        self.on_train_end(trainer, pl_module)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._asked = True

    def _agreed(self, trainer: Trainer) -> bool:
        """Say whether any process was asked to stop."""
        stop = self._asked
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
        if stop:
            log.warning("stopping; a second Ctrl-C kills")
        return stop


@contextmanager
def ctrl_c_for_the_caller() -> Iterator[None]:
    """Give a Ctrl-C that nobody listens to (before training, in evaluation) back to the caller, after Lightning's clean-up.

    Lightning would end the process with status 1, and leave it deaf to further ones.
    """
    listening = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as leaving:
        if not isinstance(leaving.__context__, KeyboardInterrupt):
            raise
        if listening:
            signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
