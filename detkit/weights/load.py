"""Loading weights by role, whoever made them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from torch import Tensor, nn

from detkit.errors import UserError
from detkit.parts import Backbone
from detkit.weights import official, rtdetr, ultralytics
from detkit.weights.class_rows import ClassNames, KeptRows, class_tensors, with_class_rows
from detkit.weights.kinds import strangers
from detkit.weights.overlap import overlapped, overlaps
from detkit.weights.report import Report

Source = Literal["auto", "ultralytics", "rtdetr", "official", "timm"]

PUBLISHERS = {"ultralytics": ultralytics, "rtdetr": rtdetr}
"""Whose state dicts of whole detectors are known, by source; a backbone alone takes its part of them."""

TABLES = ("official", "timm")
"""Whose names modules have tables of, by source."""

COUNTER = ".num_batches_tracked"
"""Ends the name of a batch norm's count of batches: no weight, and a frozen norm has none."""


def load_weights(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: Source = "auto",
    strict: bool = False,
    *,
    overlap: bool = False,
    part: str = "",
    classes: ClassNames | None = None,
) -> Report:
    """Copy what fits from ``state`` into ``module``, matched by role; the module keeps its dtype and device.

    A part of which the file has another kind (`detkit.weights.kinds`) is left at its initial values as a whole.

    Args:
        module: a detector, or a part of one whose names ``state`` has.
        state: tensors by name.
        source: whose names they are: a publisher's of whole detectors, or, "official", those of the authors of ``module``'s
            parts, or of a detector's backbone alone, or timm's of these. "auto" takes whichever match most.
        strict: every tensor of the module and of ``state`` must be matched.
        overlap: copy what a tensor has in common with one of another shape (`detkit.weights.overlap`), but for rows of classes.
        part: a role, as ``backbone``: leave everything else of the module, and of ``state``, alone.
        classes: names by label of the module's classes and of the file's: where they differ, rows are matched by name, and a
            class that the file lacks keeps its initial ones. None: label by label, if there are as many.

    Raises:
        UserError: names that are not recognised, or, where ``strict``, tensors without a match.
    """
    state_dict = module.state_dict()
    names = _names(module, state_dict, state, source)
    prefix = f"{part}." if part else ""
    own = {name: tensor for name, tensor in state_dict.items() if name.startswith(prefix)}
    names = {theirs: ours for theirs, ours in names.items() if ours.startswith(prefix)}
    places = own.keys() - strangers(module, own, set(names.values()))
    matched, rows = _by_class(module, _matched(places, state, names), classes)
    other = {ours: tensor for ours, tensor in matched.items() if own[ours].shape != tensor.shape}
    shapes = {ours: (tuple(own[ours].shape), tuple(tensor.shape)) for ours, tensor in other.items()}
    able = {ours for ours, tensor in other.items() if overlaps(own[ours], tensor)} if overlap else set()
    mixed = {ours: overlapped(own[ours], other[ours]) for ours in able.difference(class_tensors(module))}
    fitting = {ours: tensor for ours, tensor in matched.items() if ours not in other}
    taken = matched.keys() | (rows.refused if rows else {})
    report = Report(
        loaded=tuple(name for name in own if name in fitting and not name.endswith(COUNTER)),
        initial=tuple(name for name in own if name not in taken and not name.endswith(COUNTER)),
        reshaped={name: shape for name, shape in shapes.items() if name not in mixed} | (rows.refused if rows else {}),
        unexpected=tuple(theirs for theirs, ours in names.items() if ours not in places and not ours.endswith(COUNTER)),
        parameters={name: values.numel() for name, values in module.named_parameters() if name in own},
        overlapped={name: shape for name, shape in shapes.items() if name in mixed},
        rows=rows,
    )
    if strict and report.fault:
        raise UserError(f"weights: {report.fault}; strict=False loads the rest")
    module.load_state_dict(fitting | mixed, strict=False)
    return report


def check_finite(module: nn.Module, names: Collection[str]) -> None:
    """Check parameters that were loaded.

    Raises:
        UserError: one holds NaN or infinity, as what outgrew half precision does.
    """
    chosen = set(names)
    spoiled = [name for name, value in module.named_parameters() if name in chosen and not value.isfinite().all()]
    if spoiled:
        raise UserError(
            f"NaN or infinity is in {len(spoiled)} of its tensors ({spoiled[0]}, for example), with which nothing can be found "
            "or learnt; take an earlier checkpoint, or one in single precision"
        )


def by_role(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of ``state`` that ``module`` has a place for, of whatever shape, by the module's names.

    Raises:
        UserError: names that are not recognised.
    """
    own = module.state_dict()
    return _matched(own.keys(), state, _names(module, own, state, "auto"))


def _matched(places: Collection[str], state: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the tensors that have a place, by our names."""
    return {ours: state[theirs] for theirs, ours in names.items() if ours in places}


def _by_class(
    module: nn.Module, state: dict[str, Tensor], classes: ClassNames | None
) -> tuple[dict[str, Tensor], KeptRows | None]:
    """Return ``state`` with rows of classes matched by name, and which; nothing is told where there is nothing to match."""
    if classes is None or tuple(classes.own) == tuple(classes.file) or not set(class_tensors(module)) & state.keys():
        return state, None
    return with_class_rows(module, state, classes)


def _names(module: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Source) -> dict[str, str]:
    """Return the names of ``state`` -> ours."""
    if source in TABLES:
        if not official.recognises(module, source):
            raise UserError(f"weights: no name table for source '{source}': none in {type(module).__name__} nor in its parts")
        return max(_official(module, state, source), key=lambda names: _matches(own, names))
    if source in PUBLISHERS:
        return _within(module, PUBLISHERS[source].rename(state))
    foreign = [_within(module, publisher.rename(state)) for publisher in PUBLISHERS.values() if publisher.recognises(state)]
    authors = [names for source in TABLES for names in _official(module, state, source)]
    tables = [{name: name for name in state}, *authors, *foreign]
    best = max(tables, key=lambda names: _matches(own, names))
    if not foreign and not _matches(own, best):
        some = ", ".join(list(state)[:3]) or "none at all"
        raise UserError(
            f"weights: the names are neither detkit's for this {type(module).__name__} nor those of a network that it holds: "
            f"{some}, ... where it has {', '.join(list(own)[:2])}, ...; `tools/weights.py inspect` shows what a file is of"
        )
    return best


def _official(module: nn.Module, state: Mapping[str, Tensor], table: str) -> list[dict[str, str]]:
    """Return authors' or timm's names -> ours: of the module, and, where it has a backbone, of that alone."""
    backbone = getattr(module, "backbone", None)
    tables = [official.rename(module, state, table)]
    if isinstance(backbone, Backbone):
        tables.append({theirs: f"backbone.{ours}" for theirs, ours in official.rename(backbone, state, table).items()})
    return tables


def _within(module: nn.Module, names: dict[str, str]) -> dict[str, str]:
    """Return ``names``, which lead to a whole detector's, so that they lead to a backbone's own where ``module`` is one."""
    if not isinstance(module, Backbone):
        return names
    return {theirs: ours.removeprefix("backbone.") for theirs, ours in names.items()}


def _matches(own: Mapping[str, Tensor], names: Mapping[str, str]) -> int:
    """Count the names that lead to a tensor of the module."""
    return sum(ours in own for ours in names.values())
