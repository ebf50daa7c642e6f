"""Evaluation of a checkpoint: COCO's numbers, all detections in COCO's format, and plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple

import torch
from lightning.pytorch import Trainer

from detkit.data.layout import open_val
from detkit.deploy.hub import is_remote
from detkit.deploy.load import load_detector
from detkit.errors import UserError
from detkit.evaluation.coco import CocoResult
from detkit.experiment import Experiment
from detkit.parts import Detector
from detkit.train.agreement import Agreement, is_first_process
from detkit.train.interrupt import ctrl_c_for_the_caller
from detkit.train.loaders import Loaders
from detkit.train.module import DetectorModule
from detkit.train.options import check_trainer
from detkit.train.plots import PLOTS, draw_plots
from detkit.train.progress import progress_callback
from detkit.train.runs import tell
from detkit.train.trainer import quiet, refusals

RESULTS = "results.json"


class Evaluation(NamedTuple):
    """How a checkpoint scores.

    Attributes:
        result: COCO's numbers.
        paths: written files by what they are.
        rank: which of several processes this is; each has the same result, and the first has written it and should tell it.
    """

    result: CocoResult
    paths: dict[str, Path]
    rank: int = 0


def evaluate(
    checkpoint: Path, overrides: Sequence[str] = (), *, output: Path | None = None, progress: bool = True
) -> Evaluation:
    """Evaluate the averaged weights of a checkpoint.

    Args:
        checkpoint: ``best.ckpt`` of a run, say; or a published folder, or ``hf:user/name`` for one on Hugging Face's hub.
        overrides: ``data.root=~/mydata`` and the like, on the stored experiment; its ``trainer`` part starts empty, and its
            model may be any that the weights fill exactly: ``model.head.eval_layer=2``.
        output: where ``results.json`` and ``plots/`` go; by default a folder ``eval`` beside the checkpoint, or here
            where that is on the hub.
        progress: show a bar where standard error is a terminal.

    Raises:
        UserError: the checkpoint, an override or the data are wrong.
    """
    detector, experiment, names = load_detector(checkpoint, ["trainer={}", *overrides])
    check_trainer(experiment.trainer)
    folder = output or (Path() if is_remote(checkpoint) else checkpoint.parent) / "eval"
    with _writable(folder) if is_first_process(experiment.trainer) else nullcontext():
        return _score(detector, experiment, names, folder, progress)


def _score(detector: Detector, experiment: Experiment, names: Sequence[str], folder: Path, progress: bool) -> Evaluation:
    val, notes = open_val(experiment.data, names)
    for note in notes:
        tell(note)
    detector.to(memory_format=torch.channels_last)
    module = DetectorModule(detector, experiment, names)
    with quiet():
        trainer = _trainer(experiment, progress)
        with refusals(), ctrl_c_for_the_caller():
            trainer.validate(module, datamodule=Loaders(experiment, val), verbose=False)
    if module.result is None:
        raise UserError(f"trainer.limit_val_batches={trainer.limit_val_batches} leaves nothing to evaluate")
    if trainer.is_global_zero:
        module.metric.write_results(folder / RESULTS)
        if experiment.plots:
            draw_plots(module.metric, module.result, val, folder / PLOTS)
    files = {"results": folder / RESULTS, "plots": folder / PLOTS}
    return Evaluation(module.result, {name: path for name, path in files.items() if path.exists()}, trainer.global_rank)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Make the folder before the work; remove it again if the work fails and it is new and empty.

    Raises:
        UserError: it cannot be written to.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: results cannot be written there ({error.strerror or error}); give another folder") from None
    try:
        yield
    except BaseException:
        if made and not any(folder.iterdir()):
            folder.rmdir()
        raise


def _trainer(experiment: Experiment, progress: bool) -> Trainer:
    with refusals(ValueError, TypeError):
        return Trainer(
            **experiment.trainer,
            callbacks=[Agreement(), *([progress_callback()] if progress else [])],
            enable_progress_bar=progress,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_autolog_hparams=False,
            use_distributed_sampler=False,
        )
