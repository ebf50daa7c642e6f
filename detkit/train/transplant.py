"""``init``: weights of other detectors into a new one, matched by role; this file needs no lightning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from detkit.errors import UserError
from detkit.experiment import Experiment, Init
from detkit.parts import BackboneSpec, Detector, DetectorSpec
from detkit.profiling.costs import products
from detkit.train.widths import as_wide_as_init
from detkit.weights.class_rows import ClassNames
from detkit.weights.load import check_finite, load_weights
from detkit.weights.pretrained import pretrained
from detkit.weights.published import class_names
from detkit.weights.read import Weights, read
from detkit.weights.report import Report

BACKBONE = "backbone"
TIMM = "timm"
"""Stands for the weights that timm publishes, where a backbone's file is named."""


class Transplant(NamedTuple):
    """What one file gave.

    Attributes:
        field: of the experiment, that names the file.
        weights: what the file holds.
        report: what became of it.
        remark: what else the model must be for them; empty where it is.
    """

    field: str
    weights: Weights
    report: Report
    remark: str = ""

    @property
    def notes(self) -> Iterator[str]:
        """The terms that the weights come under, where they are known, the table, and the remark."""
        path = self.weights.path
        if self.weights.terms:
            yield f"{path}: terms of these weights: {self.weights.terms}"
        yield f"{self.field}: initial weights from {path}\n{self.report}"
        if self.remark:
            yield f"{self.field}: {self.remark}"


class Planted(NamedTuple):
    """A new detector with what the files of ``init`` gave it.

    Attributes:
        experiment: with class branches as wide as the file's where it leaves that open (`detkit.train.widths`).
        detector: the experiment's.
        found: what each file gave, in order.
        widened: a sentence that tells the width; empty where it is as it was.
    """

    experiment: Experiment
    detector: Detector
    found: list[Transplant]
    widened: str

    @property
    def notes(self) -> Iterator[str]:
        """All that there is to tell."""
        if self.widened:
            yield self.widened
        for one in self.found:
            yield from one.notes


def planted(experiment: Experiment, num_classes: int, names: Sequence[str] = ()) -> Planted:
    """Build the detector of an experiment and load what fits: what training starts from, and ``weights.py transfer`` shows.

    Args:
        experiment: whose detector it is; nothing is loaded where its ``init`` is None.
        num_classes: of the detector.
        names: as for `transplant`.

    Raises:
        UserError: a file cannot be used, or holds nothing that fits.
    """
    experiment, widened = as_wide_as_init(experiment, num_classes)
    detector = experiment.model.build(num_classes)
    return Planted(experiment, detector, transplant(detector, experiment, num_classes, names), widened)


def transplant(detector: Detector, experiment: Experiment, num_classes: int, names: Sequence[str] = ()) -> list[Transplant]:
    """Load what fits from the files of ``experiment.init`` into its new detector.

    Args:
        detector: to load into.
        experiment: whose detector it is.
        num_classes: of the detector.
        names: of its classes by label: what a file holds of classes is matched by name. None given: by label, where as many.

    Raises:
        UserError: a file cannot be used, or holds nothing that fits.
    """
    init = experiment.init
    if init is None:
        return []
    found = [_load(detector, experiment.model, init, names, *source) for source in sources(init)]
    flops = products(experiment.model, num_classes, experiment.data.shape)
    return [one._replace(report=one.report.with_flops(flops)) for one in found]


def sources(init: Init) -> Iterator[tuple[str, str, str]]:
    """Yield the field, the role that is loaded (empty for all) and the file of everything that ``init`` names, in order."""
    if init.weights is not None:
        yield "init", "", init.weights
    if init.backbone is not None:
        yield f"init.{BACKBONE}", BACKBONE, init.backbone


def check_files(init: Init | None) -> None:
    """Check that the files of ``init`` are there, before data are read, which may take minutes.

    Raises:
        UserError: one is not.
    """
    for field, part, file in sources(init) if init else ():
        if Path(file).expanduser().exists() or (part and file == TIMM):
            continue
        if file == TIMM:
            raise UserError(
                f"{field}={file}: timm has no whole detectors; write init.{BACKBONE}={TIMM} for a backbone's weights"
            )
        raise UserError(f"{field}={file}: there is no file {file} (seen from {Path.cwd()})")


def check_shares(init: Init, transplants: list[Transplant]) -> None:
    """Check that every file gave as much as ``init.strict`` asks for.

    Raises:
        UserError: one gave less.
    """
    if init.strict is None:
        return
    for one in transplants:
        try:
            one.report.check(init.strict)
        except UserError as error:
            where = f"init.strict={init.strict:g}: {one.field}={one.weights.path}"
            raise UserError(f"{where}: {error}; write a smaller share to train all the same") from None


def _load(
    detector: Detector, model: DetectorSpec, init: Init, names: Sequence[str], field: str, part: str, file: str
) -> Transplant:
    try:
        weights, remark = _of_timm(model) if part and file == TIMM else (read(Path(file).expanduser()), "")
        known = class_names(weights)
        classes = ClassNames(names, known) if names and known else None
        report = load_weights(detector, weights.state, overlap=init.overlap, part=part, classes=classes)
        check_finite(detector, report.loaded)
    except UserError as error:
        raise UserError(f"{field}={file}: {error}") from None
    if not report.loaded and not report.overlapped:
        whose = f" ({weights.family.name})" if weights.family else ""
        raise UserError(
            f"{field}={file}{whose} holds nothing that fits {'this model' if not part else f'its {part}'}, {_outline(model)}; "
            "name a file of such a network, or give the model the parts that the file is of"
        )
    return Transplant(field, weights, report, remark)


def _outline(model: DetectorSpec) -> str:
    """Return what a model is, in words."""
    slots = [(slot, getattr(model, slot, None)) for slot in (BACKBONE, "neck")]
    parts = ", ".join(f"{slot} {type(part).__name__}" for slot, part in slots if part is not None)
    return f"{type(model).__name__} ({parts})" if parts else type(model).__name__


def _of_timm(model: DetectorSpec) -> tuple[Weights, str]:
    """Return what timm publishes for a model's backbone, and how the model must normalise images for it.

    Raises:
        UserError: the backbone is none of timm's, or its weights cannot be had.
    """
    backbone = getattr(model, BACKBONE, None)
    name = backbone.timm_name if isinstance(backbone, BackboneSpec) else None
    if name is None:
        raise UserError(f"{type(backbone).__name__} as it is here is no network of timm; name a file of its weights instead")
    weights, mean, std = pretrained(name)
    if (getattr(model, "mean", mean), getattr(model, "std", std)) == (mean, std):
        return weights, ""
    fields = [
        f"model.{field}=[{','.join(f'{value:g}' for value in values)}]" for field, values in (("mean", mean), ("std", std))
    ]
    return weights, f"{name} was trained on images that were normalised in another way than here; write {' '.join(fields)}"
