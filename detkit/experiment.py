"""An experiment: everything that a training run is made from, as one spec."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from detkit.data.spec import Data
from detkit.parts import DetectorSpec
from detkit.recipes import Recipe, yolo_recipe
from detkit.spec import Spec


class Init(Spec):
    """Files that initial weights are taken from; a plain text stands for ``weights``.

    Tensors are matched by role. What doesn't fit is reported and left at its initial value.
    """

    shorthand: ClassVar[str] = "weights"

    weights: str | None = None
    """File of a whole detector, or of a part that it names, whoever wrote it."""
    backbone: str | None = None
    """File that the backbone alone is taken from, after ``weights``: its authors', timm's, or of a detector that has one like
    it. ``timm``: the weights that timm publishes for it, downloaded."""
    overlap: bool = False
    """Copy the leading channels of tensors of another shape: a heuristic for other widths (`detkit.weights.overlap`)."""
    strict: float | None = Field(None, gt=0, le=1)
    """Stop where less than this share of the parameters, or of the FLOPs, is loaded whole from each file (of the backbone, for
    its own). None: never."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {cls.shorthand: value} if isinstance(value, str) else value

    @field_validator("weights", "backbone")
    @classmethod
    def _named(cls, file: str | None) -> str | None:
        if file is not None and not file.strip():
            raise ValueError("is empty (an unset variable?); name a file of weights, or leave it out for initial values")
        return file

    @model_validator(mode="after")
    def _names_a_file(self) -> Init:
        if self.weights is None and self.backbone is None:
            raise ValueError(
                "names no file: write init=FILE for a detector's weights, or init.backbone=FILE for its backbone's"
            )
        return self


class Experiment(Spec):
    """What ``tools/train.py`` trains; a config file holds one under the name ``config``."""

    model: DetectorSpec
    """The detector."""
    data: Data = Data()
    """Where the images and boxes are, and their size."""
    recipe: Recipe = yolo_recipe()
    """How to train."""
    init: Init | None = None
    """Files to take initial weights from: ``init=FILE`` for a whole detector. None: initial values."""
    trainer: dict[str, Any] = {}
    """Any argument of Lightning's Trainer: ``trainer.devices=2 trainer.precision=bf16-mixed``."""
    compile: bool = False
    """Train with ``torch.compile``: quicker steps on a GPU after minutes of compiling (`detkit.train.compiling`)."""
    logger: Literal["csv", "tensorboard", "wandb", "mlflow"] = "tensorboard"
    """Who gets numbers and pictures besides the run folder, in which ``metrics.csv`` is always written; csv: nobody."""
    coco: Literal["fast", "pycocotools"] = "fast"
    """Who computes COCO's numbers: detkit, or pycocotools, which takes some eighty times as long for the same ones."""
    plots: bool = True
    """Draw curves, confusion, the worst images and the labels when training or evaluation ends."""
    seed: int = Field(0, ge=0)
    """Of initial weights, order and augmentation."""
    output: str = "runs"
    """Parent of the run folder: ``runs/<config>/<n>``."""
