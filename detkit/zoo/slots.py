"""Filling the slots of a reference detector by keyword."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

from detkit.errors import UserError
from detkit.spec import Spec, suggestion

S = TypeVar("S", bound=Spec)
T = TypeVar("T")

Pieces = Mapping[str, tuple[str, ...]]
"""Slots that are pieces of the reference's own parts -> their paths, as overrides have them: ``backbone.stages.*.unit``."""


def filled(family: str, reference: S, slots: Mapping[str, Any], names: Collection[str], pieces: Pieces) -> S:
    """Return ``reference`` with ``slots`` filled.

    Args:
        family: what error messages call the reference.
        reference: a whole detector.
        slots: what was given by keyword.
        names: of all slots.
        pieces: those that have no place where another slot replaces the part that they belong to.

    Raises:
        UserError: no such slot, or a piece of a part that another slot replaces.
    """
    for name in slots:
        if name not in names:
            raise UserError(f"zoo.{family}: no slot '{name}'{suggestion(name, names)}")
    detector = changed(reference, **{name: part for name, part in slots.items() if name not in pieces})
    fields: dict[str, dict[str, Any]] = {}
    for piece, paths in pieces.items():
        if piece not in slots:
            continue
        own = [path for path in paths if path.split(".")[0] not in slots]
        if not own:
            owner = paths[0].split(".")[0]
            kind = type(slots[owner]).__name__
            raise UserError(f"zoo.{family}: {piece}= changes the reference's {owner}; set it inside {owner}={kind}(...)")
        for path in own:
            parent, _, name = path.rpartition(".")
            fields.setdefault(parent, {})[name] = slots[piece]
    for parent, values in fields.items():  # those of one part at once, as they may fit together only
        detector = placed(detector, parent.split("."), **values)
    return detector


def placed(spec: S, path: list[str], /, **fields: Any) -> S:
    """Return ``spec`` with other fields in its part at a dotted path, in which ``*`` is every item of a tuple."""
    if not path:
        return changed(spec, **fields)
    name, *rest = path
    inner = getattr(spec, name)
    if rest[:1] == ["*"]:
        return changed(spec, **{name: tuple(placed(item, rest[1:], **fields) for item in inner)})
    return changed(spec, **{name: placed(inner, rest, **fields)})


def changed(spec: S, /, **fields: Any) -> S:
    """Return ``spec`` with other values in some fields, validated."""
    return type(spec)(**(dict(spec) | fields))


def known(family: str, kind: str, options: Mapping[str, T], name: str) -> T:
    """Return what ``options`` has under ``name``.

    Args:
        family: what error messages call the reference.
        kind: what they call the options: size, scale.
        options: what there is, by name.
        name: what was asked for.

    Raises:
        UserError: ``name`` is not among the options.
    """
    if name not in options:
        raise UserError(f"zoo.{family}: no {kind} '{name}'{suggestion(str(name), options)}")
    return options[name]
