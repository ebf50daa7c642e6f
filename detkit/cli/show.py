"""Specs and parts as text."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from detkit.nn.fitted import Fit, fits
from detkit.nn.weightless import weightless
from detkit.parts import DetectorSpec
from detkit.spec import Spec, to_dict


def outline(spec: Spec) -> str:
    """Return ``spec`` as an indented tree; each line's path is what an override on the command line takes."""
    return "\n".join(_lines("", spec, 0))


def _lines(key: str, value: Any, depth: int) -> Iterator[str]:
    label = "  " * depth + (f"{key}: " if key else "")
    if isinstance(value, Spec):
        yield label + type(value).__name__
        for name in type(value).model_fields:
            yield from _lines(name, getattr(value, name), depth + 1)
    elif isinstance(value, Mapping) and value:
        yield label.rstrip()
        for name, item in value.items():
            yield from _lines(str(name), item, depth + 1)
    elif isinstance(value, tuple) and any(isinstance(item, Spec) for item in value):
        yield label.rstrip()
        for index, item in enumerate(value):
            yield from _lines(str(index), item, depth + 1)
    else:
        yield label + short(value)


def fit_lines(model: DetectorSpec) -> Iterator[str]:
    """Yield a line for each field that a width of the network could not take exactly, with the parts that it is in."""
    found: dict[Fit, list[str]] = {}
    for name, fit in fits(weightless(model, 1)):
        found.setdefault(fit, []).append(name)
    for fit, names in found.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield f"{fit.field}={fit.asked} does not divide {fit.channels} channels; {fit.taken} does: {names[0]}{others}"


def short(value: Any) -> str:
    """Return a value on one line: ``none``, ``[64, 128]``, ``IRMB(kernel_size=3)``."""
    if isinstance(value, Spec):
        return type(value).__name__
    if value is None:
        return "none"
    if isinstance(value, tuple | list):
        return f"[{', '.join(short(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {short(item)}" for key, item in value.items()) + "}"
    return str(to_dict(value))


def part_text(part: type[Spec]) -> str:
    """Return a part's name, first line of its docstring, and a line for each field with default and description."""
    lines = [f"  {part.__name__:18} {first_line(part)}"]
    for name, field in part.model_fields.items():
        default = "required" if field.is_required() else short(field.get_default(call_default_factory=True))
        described = (field.description or "").split("\n")[0]
        lines.append(f"      {name:18} {default:24} {described}".rstrip())
    return "\n".join(lines)


def first_line(cls: type) -> str:
    """Return the first line of a class's own docstring."""
    return (inspect.cleandoc(cls.__doc__ or "").split("\n") or [""])[0]
