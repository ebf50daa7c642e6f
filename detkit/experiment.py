"""An experiment: everything that a training run is made from, as one spec."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from detkit.data.spec import Data
from detkit.parts import DetectorSpec
from detkit.recipes import Recipe, yolo_recipe
from detkit.spec import Spec


class Experiment(Spec):
    """What ``tools/train.py`` trains; a config file holds one under the name ``config``."""

    model: DetectorSpec
    """The detector."""
    data: Data = Data()
    """Where the images and boxes are, and their size."""
    recipe: Recipe = yolo_recipe()
    """How to train."""
    init: str | None = None
    """Checkpoint to take initial weights from; what does not fit is reported and left at its initial value."""
    trainer: dict[str, Any] = {}
    """Any argument of Lightning's Trainer: ``trainer.devices=2 trainer.precision=bf16-mixed``."""
    logger: Literal["csv", "tensorboard", "wandb", "mlflow"] = "tensorboard"
    """Who gets numbers and pictures besides the run folder, in which ``metrics.csv`` is always written; csv: nobody."""
    plots: bool = True
    """Draw curves, confusion, the worst images and the labels when training or evaluation ends."""
    seed: int = Field(0, ge=0)
    """Of initial weights, order and augmentation."""
    output: str = "runs"
    """Parent of the run folder: ``runs/<config>/<n>``."""
