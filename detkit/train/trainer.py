"""Lightning's Trainer, set up for a run."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.train.agreement import Agreement
from detkit.train.averaging import MovingAverage
from detkit.train.broken import BROKEN, BrokenSteps
from detkit.train.checkpoints import BEST, LAST, RunCheckpoint, SafeCheckpointIO, file_name
from detkit.train.compiling import check_compiler
from detkit.train.history import History
from detkit.train.interrupt import Interruption
from detkit.train.loggers import make_logger
from detkit.train.pictures import Pictures
from detkit.train.plots import PLOTS, Plots
from detkit.train.progress import progress_callback
from detkit.train.randomness import RandomStates
from detkit.train.runs import Configuration, tell
from detkit.train.unreadable import UNREADABLE, UnreadableImages

METRICS = "metrics.csv"
LOG_EVERY = 10
"""Steps between entries of the logger, unless ``trainer.log_every_n_steps`` says otherwise."""

BY_DESIGN = (
    "Checkpoint directory .* exists and is not empty",
    "Found .* module.s. in eval mode at the start of training",
    ".*could not find the monitored key in the returned metrics",
    "The number of training batches .* is smaller than the logging interval",
    "It is recommended to use .* when logging on epoch level in distributed setting",
    ".*LeafSpec.* is deprecated",
)
"""Warnings of Lightning about what detkit does on purpose."""


def make_trainer(
    experiment: Experiment, run: Path, history: History, progress: bool, saving: SafeCheckpointIO, *, ranked: bool = True
) -> Trainer:
    """Return the Trainer of a run.

    Args:
        experiment: what to train.
        run: its folder.
        history: that the run is written to.
        progress: show a bar or lines.
        saving: writes its checkpoints.
        ranked: AP says which epoch is best and when to stop; else there are no boxes to find, and it is the last one.

    Raises:
        UserError: a ``trainer.*`` value that Lightning refuses, or that its devices cannot do; no compiler where one is needed.
    """
    recipe = experiment.recipe
    options = {"log_every_n_steps": LOG_EVERY} | experiment.trainer
    with refusals(ValueError, TypeError):
        trainer = Trainer(
            **options,
            max_epochs=recipe.epochs,
            gradient_clip_val=recipe.clip,
            callbacks=_callbacks(experiment, run, history, progress, ranked),
            logger=make_logger(experiment.logger, run),
            plugins=[saving],
            default_root_dir=run,
            enable_progress_bar=progress,
            enable_model_summary=False,
            enable_autolog_hparams=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    if options.get("sync_batchnorm") and trainer.strategy.root_device.type == "cpu":
        raise UserError("trainer.sync_batchnorm: torch has it for GPUs alone; leave it out on the CPU")
    if experiment.compile:
        check_compiler(trainer.strategy.root_device)
        again = ", and again for each other size of recipe.multi_scale" if recipe.multi_scale else ""
        tell(f"compile: the network is compiled in the first step{again}, which takes minutes where it is large")
    return trainer


def _callbacks(experiment: Experiment, run: Path, history: History, progress: bool, ranked: bool) -> list[Callback]:
    """Return the callbacks in the order in which they act: averages and records first, then stopping, plots, saving."""
    recipe = experiment.recipe
    callbacks: list[Callback] = [Agreement()]
    if recipe.ema is not None:
        callbacks.append(MovingAverage(recipe.ema, recipe.ema_warmup))
    callbacks.append(BrokenSteps(run / BROKEN, recipe.broken_steps))
    callbacks += [RandomStates(experiment.seed), Configuration(run), history, Pictures(run), UnreadableImages(run / UNREADABLE)]
    if progress:
        callbacks.append(progress_callback())
    if recipe.patience is not None and ranked:
        callbacks.append(EarlyStopping("AP", mode="max", patience=recipe.patience, check_on_train_epoch_end=False))
    best = RunCheckpoint(run, BEST, monitor="AP" if ranked else "epoch")
    callbacks.append(Interruption(run / file_name(LAST)))
    if experiment.plots:
        callbacks.append(Plots(run / PLOTS, history))
    callbacks += [best, RunCheckpoint(run, LAST)]
    if recipe.checkpoint_steps is not None:
        callbacks.append(RunCheckpoint(run, LAST, steps=recipe.checkpoint_steps))
    return callbacks


@contextmanager
def refusals(*further: type[Exception]) -> Iterator[None]:
    """Turn what Lightning says of unusable Trainer arguments, and ``further`` errors, into a user's error."""
    kinds: tuple[type[Exception], ...] = (MisconfigurationException, *further)
    try:
        yield
    except kinds as error:
        raise UserError(f"trainer: {error}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Lightning says about devices, tips and detkit's own choices; its other warnings stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in BY_DESIGN:
                warnings.filterwarnings("ignore", message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
