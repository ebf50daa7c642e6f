"""Progress: a bar in a terminal, a line an epoch elsewhere; losses are read from the device only when they are shown."""

from __future__ import annotations

import sys
import time
from typing import Any, cast

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from torch import Tensor

from detkit.train.module import DetectorModule

REFRESH_SECONDS = 0.5


class Pace:
    """Measures speed since the process started to train."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.batches = 0
        self.images = 0

    def add(self, images: int) -> None:
        """Count a batch of all processes."""
        self.batches += 1
        self.images += images

    @property
    def images_per_second(self) -> float:
        """Training images a second, evaluation and everything else included."""
        return self.images / max(time.monotonic() - self.started, 1e-9)

    def time_left(self, batches: int) -> str:
        """Return the time that the ``batches`` still to come will take, as ``1:05:09``."""
        seconds = (time.monotonic() - self.started) / max(self.batches, 1) * batches
        return Tqdm.format_interval(seconds)


class Bar(TQDMProgressBar):
    """Loss, AP, images a second and the time left for the whole run."""

    def __init__(self) -> None:
        super().__init__()
        self.pace = Pace()
        self._shown = 0.0

    def init_train_tqdm(self) -> Tqdm:
        """Return the bar of an epoch."""
        return Tqdm(
            desc=self.train_description,
            disable=self.is_disabled,
            leave=True,
            dynamic_ncols=True,
            file=sys.stderr,
            smoothing=0,
            bar_format="{desc} {bar}| {n_fmt}/{total_fmt}{postfix}",
        )

    def init_validation_tqdm(self) -> Tqdm:
        """Return the bar of an evaluation, below that of the epoch."""
        beside = self.trainer.state.fn == "fit"
        return Tqdm(
            desc="evaluating",
            position=int(beside),
            disable=self.is_disabled,
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
            bar_format="{desc} {bar}| {n_fmt}/{total_fmt}",
        )

    def on_train_start(self, *arguments: Any) -> None:
        """Start the clock."""
        super().on_train_start(*arguments)
        self.pace = Pace()

    def on_train_epoch_start(self, trainer: Trainer, *arguments: Any) -> None:
        """Say which epoch it is."""
        self.train_progress_bar.reset(total=int(trainer.num_training_batches))
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Refresh twice a second and after the last batch."""
        self.pace.add(len(batch.images) * trainer.world_size)
        now = time.monotonic()
        if self.is_enabled and (now - self._shown > REFRESH_SECONDS or trainer.is_last_batch):
            self._shown = now
            self.train_progress_bar.n = batch_idx + 1
            self.train_progress_bar.set_postfix(self.get_metrics(trainer, pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the numbers of the whole epoch."""
        if self.is_enabled:
            self.train_progress_bar.set_postfix(self._beside(trainer, epoch_scores(trainer, pl_module)))

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands right of the bar during an epoch."""
        return self._beside(trainer, latest_scores(trainer, pl_module))

    def _beside(self, trainer: Trainer, scores: dict[str, str]) -> dict[str, Any]:
        shown: dict[str, Any] = {**scores}
        shown["images/s"] = f"{self.pace.images_per_second:.1f}"
        shown["left"] = self.pace.time_left(batches_left(trainer))
        return shown


class Lines(ProgressBar):
    """A log line an epoch, for logs and pipes."""

    def __init__(self) -> None:
        super().__init__()
        self.pace = Pace()
        self._enabled = True

    def disable(self) -> None:
        """Be quiet; Lightning asks this of all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Speak again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.pace = Pace()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count."""
        self.pace.add(len(batch.images) * trainer.world_size)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the line."""
        if self._enabled:
            words = [f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"]
            words += [f"{name} {value}" for name, value in epoch_scores(trainer, pl_module).items()]
            words += [f"{self.pace.images_per_second:.1f} images/s", f"{self.pace.time_left(batches_left(trainer))} left"]
            sys.stderr.write("  ".join(words) + "\n")


def latest_scores(trainer: Trainer, pl_module: LightningModule) -> dict[str, str]:
    """Return the loss of the latest batch and the latest AP, read from the device, and how many steps broke, as text."""
    module = cast(DetectorModule, pl_module)
    loss = sum(loss.item() for loss in module.losses.values()) if module.losses else None
    return _as_text(loss, trainer.callback_metrics.get("AP"), module.skipped)


def epoch_scores(trainer: Trainer, pl_module: LightningModule) -> dict[str, str]:
    """Return the epoch's mean loss, its AP where it was evaluated, and how many steps of the run broke, as text.

    They are those of ``metrics.csv``: `detkit.train.history.History` comes before and has logged the loss.
    """
    module = cast(DetectorModule, pl_module)
    average = None if module.result is None else module.result.numbers["AP"]
    return _as_text(trainer.callback_metrics.get("loss"), average, module.skipped)


def _as_text(loss: float | Tensor | None, average: float | Tensor | None, skipped: int) -> dict[str, str]:
    shown = {} if loss is None else {"loss": f"{float(loss):.3f}"}
    if average is not None and average >= 0:  # else there are no boxes to find
        shown["AP"] = f"{float(average):.3f}"
    return shown | ({"skipped": str(skipped)} if skipped else {})


def batches_left(trainer: Trainer) -> int:
    """Return how many training batches of the whole run are still to come."""
    assert trainer.max_epochs is not None
    done = trainer.current_epoch * trainer.num_training_batches + trainer.fit_loop.batch_idx + 1
    return max(0, int(trainer.max_epochs * trainer.num_training_batches - done))


def progress_callback() -> ProgressBar:
    """Return a bar where standard error is a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()
