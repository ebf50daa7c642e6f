"""From a checkpoint file to a detector that can be used."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.parts import Detector
from detkit.spec import from_dict
from detkit.weights.checkpoint import read_checkpoint
from detkit.weights.load import load_weights


class Loaded(NamedTuple):
    """A trained detector.

    Attributes:
        detector: in evaluation mode, with the averaged weights where averages were kept.
        experiment: that it was trained by; data size and resizing are its.
        names: class names by label.
    """

    detector: Detector
    experiment: Experiment
    names: tuple[str, ...]


def load_detector(path: str | Path) -> Loaded:
    """Rebuild the detector of a checkpoint; no other file is needed.

    Raises:
        UserError: no whole checkpoint, a part of the user's own that is not imported, or weights of another model.
    """
    checkpoint = read_checkpoint(path)
    experiment = from_dict(Experiment, checkpoint.experiment, modules=checkpoint.modules)
    detector = experiment.model.build(num_classes=len(checkpoint.classes))
    try:
        load_weights(detector, checkpoint.weights, strict=True)
    except UserError as error:
        raise UserError(f"{path} does not hold the weights of the model that it describes: {error}") from None
    return Loaded(detector.eval(), experiment, checkpoint.classes)
