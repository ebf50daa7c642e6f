"""From anybody's weights of a whole detector to a checkpoint of detkit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from detkit.data.spec import SIZE, Data
from detkit.detectors.rtdetr import RTDETR
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe, yolo_recipe
from detkit.spec import suggestion
from detkit.weights.checkpoint import PREFIX, header, write_checkpoint
from detkit.weights.load import check_finite, load_weights
from detkit.weights.published import DETECTORS, class_names, detector_name, names_detectors, row_count
from detkit.weights.read import Weights, read
from detkit.weights.records import shown
from detkit.weights.report import Report

FEW = 12
"""Classes that are told by name."""


@dataclass(frozen=True)
class Converted:
    """What became of a file.

    Attributes:
        weights: what it holds.
        model: name of the published detector; empty where the experiment was given.
        classes: names by label.
        named_by: who named them, in words.
        report: what became of every tensor.
    """

    weights: Weights
    model: str
    classes: tuple[str, ...]
    named_by: str
    report: Report


def facts(converted: Converted) -> Iterator[tuple[str, str]]:
    """Yield what was found, a label and a text each."""
    weights, classes = converted.weights, converted.classes
    yield "family", weights.family.name if weights.family else "unknown"
    yield "model", converted.model or "as given"
    yield "found at", f"{weights.place or 'the top'}{' (averaged over training)' if weights.averaged else ''}"
    more = f", and {len(classes) - FEW} more" if len(classes) > FEW else ""
    yield "classes", f"{len(classes)}, {converted.named_by}: {', '.join(shown(name, 30) for name in classes[:FEW])}{more}"
    others = [name for name in weights.precision if name.startswith(("float", "bfloat")) and name != "float32"]
    yield "precision", f"{', '.join(others)} became float32" if others else "float32"
    yield "licence", weights.terms or "not known; ask whoever published the file"


def published(name: str) -> Experiment:
    """Return the experiment of a published detector: its input size and resizing, and its recipe.

    Raises:
        UserError: there is no detector of that name.
    """
    if name not in DETECTORS:
        raise UserError(
            f"no published detector '{name}'{suggestion(name, DETECTORS)}; a config is named with its ending: configs/mine.py"
        )
    model = DETECTORS[name]()
    if isinstance(model, RTDETR):
        return Experiment(model=model, data=Data(size=SIZE, resize="stretch"), recipe=detr_recipe())
    return Experiment(model=model, data=Data(size=SIZE), recipe=yolo_recipe())


def convert(
    source: Path, output: Path, experiment: Experiment | None = None, classes: Sequence[str] = (), *, strict: bool = True
) -> Converted:
    """Write a checkpoint of detkit with the weights in a file, in single precision.

    Args:
        source: the file, whoever wrote it; averaged weights in it are preferred.
        output: the checkpoint; it must not be there yet.
        experiment: what the weights are of; none for the published detector that they fill.
        classes: names by label; none for the file's own, or COCO's where a publisher leaves 80 unnamed.
        strict: refuse where tensors of the file or of the model are left over; else what is missing has initial values.

    Raises:
        UserError: the file cannot be read, or is none of a detector that is known; the names don't count its classes;
            tensors are left over; or the output is there.
    """
    if output.exists():
        raise UserError(f"{output} is there already; give another name")
    weights = read(source)
    if weights.form.startswith(("checkpoint of detkit", "published by detkit")):
        raise UserError(f"{source} is a checkpoint of detkit already")
    model = "" if experiment else _recognised(weights)
    names, named_by = _names(weights, classes)
    experiment = experiment or published(model)
    detector = experiment.model.build(num_classes=len(names))
    try:
        report = load_weights(detector, weights.state)
        check_finite(detector, report.loaded)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    if not report.loaded or (strict and report.fault):
        raise UserError(
            f"{source} does not fill this {type(experiment.model).__name__} of {len(names)} classes: {report.fault}"
        )
    state = {f"{PREFIX}{name}": tensor for name, tensor in detector.state_dict().items()}
    write_checkpoint({**header(experiment, names, weights.terms), "state_dict": state}, output)
    return Converted(weights, model, names, named_by, report)


def _recognised(weights: Weights) -> str:
    """Return the name of the published detector that weights fill.

    Raises:
        UserError: they fill none.
    """
    family, rows = weights.family.name if weights.family else "of no known family", row_count(weights)
    if rows is None or not names_detectors(weights):
        raise UserError(
            f"{weights.path} ({family}) is read, but holds no whole detector whose names are known; init=FILE or "
            "init.backbone=FILE takes what fits into a model that you train"
        )
    try:
        name = detector_name(weights.state, rows)
    except UserError as error:
        raise UserError(f"{weights.path}: {error}") from None
    if name is None:
        raise UserError(
            f"{weights.path} ({family}) fills none of the published detectors; name the config that it was trained by, or the "
            "closest detector, with --model"
        )
    return name


def _names(weights: Weights, given: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Return the names of the classes, and who named them.

    Raises:
        UserError: they don't count the classes, or nothing tells how many there are.
    """
    rows, found = row_count(weights), class_names(weights)
    names = tuple(given) or found
    if rows is None and not names:
        raise UserError(f"{weights.path} does not tell its classes; give their names in order with --classes")
    if rows is not None and names and len(names) != rows:
        whose = "were given" if given else "are in the file"
        raise UserError(f"{weights.path} has {rows} classes, but {len(names)} names {whose}; give all in order with --classes")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"the class name '{twice}' is there twice; give names in order with --classes")
    if given:
        return names, "as given"
    if names:
        return names, "of the file" if weights.classes else "of COCO, as the file has 80 and no names"
    assert rows is not None
    return tuple(f"class_{row}" for row in range(rows)), "numbered, as the file has no names; --classes gives them"
