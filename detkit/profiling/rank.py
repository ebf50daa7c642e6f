"""Every registered part in one slot of one detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from detkit.detectors.rtdetr import RTDETR
from detkit.detectors.yolo import YOLO
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.overrides import override
from detkit.spec import Spec, field_annotation, item_annotation, join, noun, spec_classes
from detkit.zoo.rtdetr import PIECES as RTDETR_PIECES
from detkit.zoo.yolo import PIECES as YOLO_PIECES


def swaps(experiment: Experiment, slot: str) -> tuple[dict[str, Experiment], dict[str, str]]:
    """Put every part that a slot's family has, with default fields, into the slot of the experiment's model.

    Args:
        experiment: holds the detector.
        slot: a field of the model (``backbone``, ``neck``), a keyword of the zoo (``unit``), or a path (``after.p4``).

    Returns:
        The changed experiments by the name of the part; and of parts that no model can hold there, why not.

    Raises:
        UserError: the model has no such slot.
    """
    paths = _paths(experiment.model, slot.removeprefix("model."))
    changed, refused = {}, {}
    for name in _parts(experiment.model, paths[0]):
        try:
            changed[name] = override(experiment, [f"model.{path}={name}" for path in paths])
        except UserError as error:
            refused[name] = str(error)
    return changed, refused


def _paths(model: Spec, slot: str) -> tuple[str, ...]:
    """Return the paths that a keyword of the model's zoo stands for, or the path itself."""
    pieces = YOLO_PIECES if isinstance(model, YOLO) else RTDETR_PIECES if isinstance(model, RTDETR) else {}
    return pieces.get(slot, (slot,))


def _parts(model: Spec, path: str) -> list[str]:
    """Return the names of the parts that could stand at a path.

    Raises:
        UserError: nothing is there, or a value that is no part.
    """
    value: Any = model
    annotation: Any = type(model)
    where = "model"
    for key in path.split("."):
        if isinstance(value, Spec):
            annotation, value = field_annotation(type(value), key, where), getattr(value, key)
        elif isinstance(value, Mapping):
            annotation, value = item_annotation(annotation, dict), value.get(key)
        elif isinstance(value, tuple) and value and (key == "*" or key.isdigit()):
            annotation, value = item_annotation(annotation, list), value[0]
        else:
            raise UserError(f"--rank {path}: {where} has no '{key}'; name a slot, such as backbone, neck, unit or after.p4")
        where = join(where, key)
    specs = spec_classes(annotation) or spec_classes(item_annotation(annotation, list))
    families = list(dict.fromkeys(cls.family() for cls in specs))
    names = [name for family in families if family.home for name in family.parts()]
    if not names:
        kinds = " or ".join(noun(family) for family in families) or "a value"
        raise UserError(f"--rank {path}: {where} holds {kinds}, of which there are no parts to try")
    return names
