"""``init``: weights of other detectors into a new one, matched by role; this file needs no lightning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from detkit.errors import UserError
from detkit.experiment import Experiment, Init
from detkit.parts import Detector
from detkit.profiling.costs import products
from detkit.weights.class_rows import ClassNames
from detkit.weights.load import load_weights
from detkit.weights.published import class_names
from detkit.weights.read import Weights, read
from detkit.weights.report import Report

BACKBONE = "backbone"


class Transplant(NamedTuple):
    """What one file gave.

    Attributes:
        field: of the experiment, that names the file.
        weights: what the file holds.
        report: what became of it.
    """

    field: str
    weights: Weights
    report: Report

    @property
    def notes(self) -> Iterator[str]:
        """The terms that the weights come under, where they are known, and the table."""
        path = self.weights.path
        if self.weights.terms:
            yield f"{path}: terms of these weights: {self.weights.terms}"
        yield f"{self.field}: initial weights from {path}\n{self.report}"


def transplant(detector: Detector, experiment: Experiment, num_classes: int, names: Sequence[str] = ()) -> list[Transplant]:
    """Load what fits from the files of ``experiment.init`` into its new detector.

    Args:
        detector: to load into.
        experiment: whose detector it is.
        num_classes: of the detector.
        names: of its classes by label: what a file holds of classes is matched by name. None: by label, where as many.

    Raises:
        UserError: a file cannot be used, or holds nothing that fits.
    """
    init = experiment.init
    if init is None:
        return []
    found = [_load(detector, init, names, *source) for source in sources(init)]
    flops = products(experiment.model, num_classes, experiment.data.shape)
    return [one._replace(report=one.report.with_flops(flops)) for one in found]


def sources(init: Init) -> Iterator[tuple[str, str, str]]:
    """Yield the field, the role that is loaded (empty for all) and the file of everything that ``init`` names, in order."""
    if init.weights is not None:
        yield "init", "", init.weights
    if init.backbone is not None:
        yield f"init.{BACKBONE}", BACKBONE, init.backbone


def check_shares(init: Init, transplants: list[Transplant]) -> None:
    """Check that every file gave as much as ``init.strict`` asks for.

    Raises:
        UserError: one gave less.
    """
    if init.strict is None:
        return
    for field, weights, report in transplants:
        try:
            report.check(init.strict)
        except UserError as error:
            raise UserError(f"init.strict={init.strict:g}: {field}={weights.path}: {error}") from None


def _load(detector: Detector, init: Init, names: Sequence[str], field: str, part: str, file: str) -> Transplant:
    try:
        weights = read(Path(file).expanduser())
        known = class_names(weights)
        classes = ClassNames(names, known) if names and known else None
        report = load_weights(detector, weights.state, overlap=init.overlap, part=part, classes=classes)
    except UserError as error:
        raise UserError(f"{field}={file}: {error}") from None
    if not report.loaded and not report.overlapped:
        raise UserError(f"{field}={file} holds nothing that fits {'this model' if not part else f'its {part}'}")
    return Transplant(field, weights, report)
