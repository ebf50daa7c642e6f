"""Dotted overrides from the command line: ``recipe.epochs=50``, ``'model.backbone.stages.*.unit=IRMB'``.

They edit the plain tree of a spec in the order given; the tree is validated once, at the end.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from detkit.spec import (
    S,
    Spec,
    SpecError,
    alternatives,
    field_annotation,
    from_dict,
    item_annotation,
    join,
    resolve,
    spec_classes,
    to_dict,
)

NONE = ("none", "null")


def override(spec: S, assignments: Sequence[str]) -> S:
    """Return ``spec`` with ``path=value`` assignments applied in order.

    A path goes through fields, tuple positions (``*`` means every item) and dict keys. A value is tried as text against the
    field's type, then as a literal in which bare names are text and calls are parts: ``IRMB(kernel_size=5)``.
    ``none`` removes an entry from a dict. A text in place of a spec with a ``shorthand`` sets that field of it: ``init=FILE``.

    Raises:
        SpecError: a path that leads nowhere, or a value that does not fit; names the path.
    """
    tree = to_dict(spec)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path:
            raise SpecError("", f"'{assignment}' is not an override; write path=value, as in recipe.epochs=50")
        tree = _assign(type(spec), tree, path.split("."), text, "")
    return from_dict(type(spec), tree)


def _assign(annotation: Any, node: Any, keys: Sequence[str], text: str, where: str) -> Any:
    """Return ``node`` with the value at ``keys`` replaced."""
    specs = spec_classes(annotation)
    if not keys:
        short = _shorthand(specs, text)
        return _assign(annotation, node, [short], text, where) if short else parse_text(annotation, text, where)
    key, rest = keys[0], keys[1:]
    if node is None and len(specs) == 1 and not inspect.isabstract(specs[0]):
        node = {"type": specs[0].__name__} | _defaults(specs[0])
    if isinstance(node, dict) and "type" in node and specs:
        cls = resolve(specs, node["type"], where)
        if key == "type":
            raise SpecError(where, f"'type' cannot be set alone; write {where}={text}")
        return node | {key: _assign(field_annotation(cls, key, where), node.get(key), rest, text, join(where, key))}
    if isinstance(node, list):
        chosen = _positions(key, len(node), where)
        return [
            _assign(item_annotation(annotation, list, i), item, rest, text, join(where, i)) if i in chosen else item
            for i, item in enumerate(node)
        ]
    item = item_annotation(annotation, dict)
    if item is not None and isinstance(node, dict):
        if not rest and text.lower() in NONE:
            if key not in node:
                raise SpecError(where, f"no entry '{key}' to remove; there are: {', '.join(node) or 'none'}")
            return {name: value for name, value in node.items() if name != key}
        keys_of_node = list(node) if key == "*" else [key]
        return node | {name: _assign(item, node.get(name), rest, text, join(where, name)) for name in keys_of_node}
    if node is None:
        raise SpecError(where, f"is none, so it has no '{key}'; set {where} first")
    raise SpecError(where, f"is {node!r}, which has no fields, so '{key}' cannot be set")


def _shorthand(specs: Sequence[type[Spec]], text: str) -> str | None:
    """Return the field that a plain text stands for in a field of these specs; None where it stands for the whole."""
    if text.lower() in NONE:
        return None
    return next((cls.shorthand for cls in specs if cls.shorthand and not text.startswith(f"{cls.__name__}(")), None)


def _positions(key: str, length: int, where: str) -> range | list[int]:
    if key == "*":
        return range(length)
    if not key.isdigit() or int(key) >= length:
        raise SpecError(where, f"has {length} items; write 0 to {length - 1} or *, not '{key}'")
    return [int(key)]


def parse_text(annotation: Any, text: str, where: str = "") -> Any:
    """Return the plain value that ``text`` stands for in a field of this annotation."""
    members = alternatives(annotation)
    if text.lower() in NONE and (type(None) in members or annotation is Any):
        return None
    specs = spec_classes(annotation)
    if annotation is not Any and not specs:  # any text would fit Any
        try:
            return to_dict(TypeAdapter(annotation).validate_python(text))
        except (ValidationError, TypeError):
            pass  # not text for this type: perhaps a literal
    value = _literal(text, annotation, where)
    single = not isinstance(value, list | dict) or (isinstance(value, dict) and "type" in value)
    wraps = single and any(_any_length(member) for member in members)
    return [_complete(value, item_annotation(annotation, list), where)] if wraps else _complete(value, annotation, where)


def _any_length(annotation: Any) -> bool:
    """Say whether an annotation is of a list, or of a tuple of any length: what a single item can stand for."""
    origin = get_origin(annotation)
    return origin is list or (origin is tuple and Ellipsis in get_args(annotation))


def _literal(text: str, annotation: Any, where: str) -> Any:
    """Read a Python literal in which names stand for themselves and calls for parts; what is none is text."""
    try:
        return _plain(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError):
        return (
            [part.strip() for part in text.strip(" [](),").split(",")]
            if item_annotation(annotation, list) is not None
            else text
        )


def _plain(node: ast.expr) -> Any:
    if isinstance(node, ast.Name | ast.Attribute):
        word = ast.unparse(node)
        return {"none": None, "null": None, "true": True, "false": False}.get(word.lower(), word)
    if isinstance(node, ast.Tuple | ast.List):
        return [_plain(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {str(_plain(key)): _plain(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.args:
        return {"type": node.func.id} | {str(item.arg): _plain(item.value) for item in node.keywords}
    return ast.literal_eval(node)


def _complete(value: Any, annotation: Any, where: str) -> Any:
    """Replace names and partial trees of parts by whole trees, so that later overrides see every default."""
    specs = spec_classes(annotation)
    if specs and isinstance(value, str):
        value = {"type": value}
    if specs and isinstance(value, dict) and "type" in value:
        cls = resolve(specs, value["type"], where)
        given = {
            name: _complete(child, field_annotation(cls, name, where), join(where, name))
            for name, child in value.items()
            if name != "type"
        }
        return {"type": cls.__name__} | _defaults(cls) | given
    if isinstance(value, list):
        return [_complete(child, item_annotation(annotation, list, i), join(where, i)) for i, child in enumerate(value)]
    if isinstance(value, dict):
        return {key: _complete(child, item_annotation(annotation, dict), join(where, key)) for key, child in value.items()}
    return value


def _defaults(cls: type[Spec]) -> dict[str, Any]:
    fields = cls.model_fields.items()
    return {name: to_dict(f.get_default(call_default_factory=True)) for name, f in fields if not f.is_required()}
