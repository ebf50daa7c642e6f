"""Evaluation of a checkpoint: COCO's numbers, and all detections in COCO's format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from lightning.pytorch import Trainer

from detkit.data.layout import open_val
from detkit.deploy.load import load_detector
from detkit.errors import UserError
from detkit.evaluation.coco import CocoResult
from detkit.experiment import Experiment
from detkit.overrides import override
from detkit.train.loaders import Loaders
from detkit.train.module import DetectorModule
from detkit.train.options import check_trainer
from detkit.train.progress import progress_callback
from detkit.train.runs import tell
from detkit.train.trainer import quiet, refusals


class Evaluation(NamedTuple):
    """How a checkpoint scores.

    Attributes:
        result: COCO's numbers.
        paths: written files by what they are.
    """

    result: CocoResult
    paths: dict[str, Path]


def evaluate(
    checkpoint: Path, overrides: Sequence[str] = (), *, output: Path | None = None, progress: bool = True
) -> Evaluation:
    """Evaluate the averaged weights of a checkpoint.

    Args:
        checkpoint: ``best.ckpt`` of a run, say.
        overrides: ``data.root=~/mydata`` and the like, on the stored experiment; its ``trainer`` part starts empty.
        output: where ``results.json`` goes; by default a folder ``eval`` beside the checkpoint.
        progress: show a bar where standard error is a terminal.

    Raises:
        UserError: the checkpoint, an override or the data are wrong.
    """
    detector, trained, names = load_detector(checkpoint)
    experiment = override(trained.model_copy(update={"trainer": {}}), overrides)
    if experiment.model != trained.model:
        raise UserError("model: a checkpoint is evaluated as the model that it holds; override data, recipe.batch or trainer")
    check_trainer(experiment.trainer)
    val, notes = open_val(experiment.data, names)
    for note in notes:
        tell(note)
    detector.to(memory_format=torch.channels_last)
    module = DetectorModule(detector, experiment, names)
    with quiet():
        trainer = _trainer(experiment, progress)
        trainer.validate(module, datamodule=Loaders(experiment, val), verbose=False)
    assert module.result is not None
    paths = {"results": (output or checkpoint.parent / "eval") / "results.json"}
    if trainer.is_global_zero:
        paths["results"].parent.mkdir(parents=True, exist_ok=True)
        module.metric.write_results(paths["results"])
    return Evaluation(module.result, paths)


def _trainer(experiment: Experiment, progress: bool) -> Trainer:
    with refusals():
        return Trainer(
            **experiment.trainer,
            callbacks=[progress_callback()] if progress else [],
            enable_progress_bar=progress,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_autolog_hparams=False,
            use_distributed_sampler=False,
        )
