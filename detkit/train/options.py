"""The ``trainer.*`` part of an experiment: any argument of Lightning's Trainer, except what detkit decides itself."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from detkit.spec import SpecError, suggestion

INSTEAD = {
    "max_epochs": "write recipe.epochs",
    "max_steps": "a run is counted in epochs; write recipe.epochs, and trainer.limit_train_batches for short ones",
    "min_steps": "a run is counted in epochs; write recipe.epochs",
    "max_time": "a run is counted in epochs; stop it with Ctrl-C and go on with --resume",
    "min_epochs": "write recipe.epochs, and recipe.patience for stopping early",
    "fast_dev_run": "write recipe.epochs=1 trainer.limit_train_batches=2 trainer.limit_val_batches=2",
    "overfit_batches": "write data.limit",
    "accumulate_grad_batches": "write recipe.nominal_batch",
    "gradient_clip_val": "write recipe.clip",
    "check_val_every_n_epoch": "write recipe.eval_every",
    "val_check_interval": "evaluation comes after whole epochs; write recipe.eval_every",
    "num_sanity_val_steps": "there are none; the data are checked when they are read",
    "limit_test_batches": "there is no test loop; tools/eval.py evaluates a checkpoint",
    "limit_predict_batches": "there is no predict loop; tools/predict.py draws detections",
    "logger": "write logger, which stands beside trainer",
    "default_root_dir": "write output",
    "callbacks": "it is Python, not data; build your own loop on detkit.train.module",
    "plugins": "it is Python, not data; build your own loop on detkit.train.module",
    "enable_checkpointing": "best.ckpt and last.ckpt are always written",
    "enable_progress_bar": "call fit(progress=False) from Python",
    "enable_model_summary": "tools/train.py CONFIG --print shows the model",
    "use_distributed_sampler": "detkit's loaders share the images out themselves",
    "reload_dataloaders_every_n_epochs": "each epoch has its own order and augmentation already",
    "barebones": "there would be neither checkpoints nor metrics",
    "enable_autolog_hparams": "config.json holds the whole experiment",
    "model_registry": "checkpoints stay in the run folder",
}
"""Trainer arguments that are refused, and what to do instead."""


IMPRECISE = ("16-true", "bf16-true")
"""Precisions that Lightning casts whole batches to, boxes included: a box at 600 pixels would be off by 2."""

LOST = ("spawn", "fork", "notebook")
"""In names of strategies whose processes are copies of this one, which would not hear of their results."""


def check_trainer(options: Mapping[str, Any]) -> None:
    """Check the names of Trainer arguments, before any data is read.

    Raises:
        SpecError: an argument that the Trainer does not have, or one that detkit decides itself.
    """
    precision = options.get("precision")
    if precision in IMPRECISE:
        instead = f"{str(precision).removesuffix('true')}mixed"
        raise SpecError("trainer.precision", f"{precision} would round the boxes too; write {instead}")
    strategy = options.get("strategy")
    if isinstance(strategy, str) and any(word in strategy for word in LOST):
        raise SpecError("trainer.strategy", f"{strategy} would leave the run's results in processes that end; write ddp")
    known = [name for name in inspect.signature(Trainer).parameters if name not in INSTEAD]
    for name in options:
        if name in INSTEAD:
            raise SpecError(f"trainer.{name}", f"detkit decides this; {INSTEAD[name]}")
        if name not in known:
            raise SpecError("trainer", f"Lightning's Trainer has no argument '{name}'{suggestion(name, known)}")
        value = options[name]
        if name.startswith("limit_") and value is not None and not isinstance(value, int | float):
            raise SpecError(f"trainer.{name}", f"'{value}' is no number; write 10 for ten batches or 0.1 for a tenth of them")
