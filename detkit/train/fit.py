"""Training: an experiment in, a run folder and a result out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from detkit.data.check.boxes import notes_before_training
from detkit.data.extra import check_transforms
from detkit.data.fingerprint import fingerprints
from detkit.data.layout import open_data
from detkit.evaluation.coco import CocoResult
from detkit.experiment import Experiment
from detkit.train.agreement import is_first_process
from detkit.train.broken import BROKEN
from detkit.train.checkpoints import BEST, LAST, RunCheckpoint, SafeCheckpointIO, file_name
from detkit.train.history import History
from detkit.train.interrupt import Interrupted, ctrl_c_for_the_caller
from detkit.train.loaders import Loaders
from detkit.train.loggers import check_logger
from detkit.train.module import DetectorModule
from detkit.train.optimization import derive
from detkit.train.options import check_trainer
from detkit.train.pictures import VAL_PICTURE
from detkit.train.plots import PLOTS
from detkit.train.roles import check_model
from detkit.train.runs import CONFIG, new_run, tell
from detkit.train.services import begin_run
from detkit.train.start import check_data, checkpoint_to_resume, new_detector, note_learning_rate
from detkit.train.trainer import METRICS, make_trainer, quiet, refusals
from detkit.train.transplant import check_files
from detkit.train.unreadable import UNREADABLE, listed


@dataclass(frozen=True)
class Result:
    """What came out of a run.

    Attributes:
        run: the run folder.
        best: COCO's numbers of the best epoch by AP; None before the first evaluation, and without boxes to find.
        best_epoch: which one that is, from 1.
        last: COCO's numbers of the latest evaluation.
        interrupted: the user stopped it; ``fit(..., resume=run)`` goes on.
        seconds: that this call took.
        paths: files of the run folder by what they are.
        rank: which of several processes this is; each has the same result, and the first should tell it.
        skipped: steps whose loss or gradient was not finite.
        unsaved: checkpoints that could not be written to the end, so that an older file or none is there; known to the first
            process.
    """

    run: Path
    best: CocoResult | None
    best_epoch: int | None
    last: CocoResult | None
    interrupted: bool
    seconds: float
    paths: dict[str, Path]
    rank: int
    skipped: int
    unsaved: tuple[Path, ...]


def fit(experiment: Experiment, *, name: str = "run", resume: Path | None = None, progress: bool = True) -> Result:
    """Train.

    Args:
        experiment: what to train, on what, and how.
        name: of the run: the folder is ``<experiment.output>/<name>/<n>``.
        resume: folder of a run to go on with, in place; ``experiment`` is then its stored one, perhaps with another
            ``recipe.epochs``, ``data.root`` or ``trainer``.
        progress: show a bar, or a line an epoch where standard error is no terminal.

    Raises:
        UserError: something in the experiment, the data or the run to resume is wrong.
    """
    started = time.monotonic()
    check_trainer(experiment.trainer)
    check_logger(experiment.logger)
    check_model(experiment)
    check_transforms(experiment.recipe.augment.extra, experiment.data.shape)
    checkpoint = None if resume is None else checkpoint_to_resume(resume, experiment)
    if checkpoint is None:
        check_files(experiment.init)  # a run that goes on never needs them
    splits = open_data(experiment.data, set() if resume is None else listed(resume / UNREADABLE))
    for note in [*splits.notes, *notes_before_training(splits)]:
        tell(note)
    if checkpoint is None:
        detector, experiment, licence = new_detector(experiment, len(splits.names), splits.names)
    else:
        check_data(checkpoint, splits)
        detector, licence = experiment.model.build(len(splits.names)), ""  # its checkpoint knows it
    detector.to(memory_format=torch.channels_last)  # a fifth quicker on a CPU; also what GPUs' tensor cores read
    ranked = len(splits.val.boxes) > 0
    if not ranked:
        tell("the validation images have no boxes, so AP cannot be computed; best.ckpt will be the last epoch's")
    writes = is_first_process(experiment.trainer)
    parent = Path(experiment.output).expanduser() / name
    run = resume or (new_run(parent) if writes else parent)  # the others never write, and learn its name from the first
    history = History(run / METRICS)
    with quiet(), nullcontext() if resume or not writes else _discarded_unless_begun(run, history):
        saving = SafeCheckpointIO()
        trainer = make_trainer(experiment, run, history, progress, saving, ranked=ranked)
        recipe = derive(experiment.recipe, len(splits.train), len(splits.names), trainer.world_size)
        data = experiment.data.model_copy(update={"size": experiment.data.shape})  # what a default meant here
        experiment = experiment.model_copy(update={"recipe": recipe, "data": data})
        note_learning_rate(experiment)
        module = DetectorModule(detector, experiment, splits.names, licence, fingerprints(splits))
        trainer.precision_plugin.convert_module(module)  # before averages are copied from it and states loaded into it
        if writes:
            begin_run(trainer.logger, experiment)
        interrupted = False
        try:
            with refusals(), ctrl_c_for_the_caller():
                trainer.fit(module, datamodule=Loaders(experiment, splits.val, splits.train), ckpt_path=checkpoint)
        except Interrupted:
            interrupted = True
    if not writes:
        run = Path(cast(RunCheckpoint, trainer.checkpoint_callback).dirpath or run)
    seconds = time.monotonic() - started
    return _result(run, history, interrupted, seconds, trainer.global_rank, module.skipped, saving.unsaved)


@contextmanager
def _discarded_unless_begun(run: Path, history: History) -> Iterator[None]:
    """Remove the new folder ``run`` after an error before the end of the first batch: it holds nothing that was trained."""
    try:
        yield
    except BaseException:
        if not history.begun and not (run / BROKEN).exists():
            shutil.rmtree(run, ignore_errors=True)
        raise


def _result(
    run: Path, history: History, interrupted: bool, seconds: float, rank: int, skipped: int, unsaved: tuple[Path, ...]
) -> Result:
    files = {
        "best": run / file_name(BEST),
        "last": run / file_name(LAST),
        "metrics": run / METRICS,
        "config": run / CONFIG,
        "pictures": run / VAL_PICTURE,
        "plots": run / PLOTS,
        "unreadable": run / UNREADABLE,
        "broken": run / BROKEN,
        "events": run / "tensorboard",
    }
    return Result(
        run=run,
        best=history.best[1] if history.best else None,
        best_epoch=history.best[0] if history.best else None,
        last=history.last[1] if history.last else None,
        interrupted=interrupted,
        seconds=seconds,
        paths={name: path for name, path in files.items() if path.exists()},
        rank=rank,
        skipped=skipped,
        unsaved=unsaved,
    )
