"""From a checkpoint file, or a published folder, to a detector that can be used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detkit.deploy.hub import local
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.overrides import override
from detkit.parts import Detector
from detkit.spec import from_dict
from detkit.weights.checkpoint import Checkpoint
from detkit.weights.folder import read_model
from detkit.weights.load import load_weights


class Loaded(NamedTuple):
    """A trained detector.

    Attributes:
        detector: in evaluation mode, with the averaged weights where averages were kept.
        experiment: that it was trained by, with the overrides that were asked for; data size and resizing are its.
        names: class names by label.
    """

    detector: Detector
    experiment: Experiment
    names: tuple[str, ...]


def load_detector(path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Rebuild the detector of a checkpoint or a published folder; no other file is needed.

    Args:
        path: checkpoint file, published folder, or ``hf:user/name`` for one on Hugging Face's hub.
        overrides: ``model.head.eval_layer=2`` and the like, on the stored experiment; the weights must fill the model exactly.

    Raises:
        UserError: no whole checkpoint, a part of the user's own that is not imported, a wrong override, or weights of another
            model.
    """
    return rebuild(read_model(local(path)), path, overrides)


def rebuild(checkpoint: Checkpoint, path: str | Path, overrides: Sequence[str] = ()) -> Loaded:
    """Rebuild a detector.

    Args:
        checkpoint: what a file or a folder holds.
        path: what the user calls that.
        overrides: as for `load_detector`.

    Raises:
        UserError: as from `load_detector`.
    """
    trained = from_dict(Experiment, checkpoint.experiment, modules=checkpoint.modules)
    experiment = override(trained, overrides)
    detector = experiment.model.build(num_classes=len(checkpoint.classes))
    try:
        fault = load_weights(detector, checkpoint.weights).fault
    except UserError as error:  # not one of its names is known here
        fault = str(error)
    if fault and experiment.model != trained.model:
        raise UserError(f"model: {path} can only be used as a model that its weights fill exactly; as this one, {fault}")
    if fault:
        raise UserError(f"{path} does not hold the weights of the model that it describes: {fault}")
    return Loaded(detector.eval(), experiment, checkpoint.classes)
