"""The config language: small, frozen, typed objects that say what to build.

A `Spec` is a pydantic model that forbids unknown fields. A *family* is a direct subclass of `Spec` (``BlockSpec``,
``BackboneSpec``, ...); its concrete subclasses are its *parts*. Subclassing is registration: a part is found by its class
name among the subclasses of the family that a field is annotated with. A stored spec is plain data,
``{"type": "PAN", "widths": [64, 128, 256], ...}``, that can name parts but never code.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from detkit.errors import UserError

S = TypeVar("S", bound="Spec")


class SpecError(UserError, ValueError):
    """A spec cannot be made from what was given; the message starts with the dotted path of the culprit."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__(f"{where}: {text}" if where else text)
        self.where, self.text = where, text


class Spec(BaseModel):
    """A frozen description of one thing to build; subclass it directly to open a family, deeper to add a part."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    home: ClassVar[str] = ""
    """Package (or module) that holds the family's own parts; imported when a name is looked up."""

    shorthand: ClassVar[str] = ""
    """Field that a text in place of the whole spec stands for, on the command line; none where a text names a part."""

    refused: ClassVar[bool] = False
    """A class whose name was taken; it is no part."""

    if not TYPE_CHECKING:  # a type checker sees the fields as keyword arguments

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise explain(type(self), error) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        if "type" in cls.model_fields:
            raise TypeError(f"{cls.__name__}: 'type' is a reserved field name; it stores the name of the class")
        for other in cls.family()._descendants():
            if other.__name__ == cls.__name__ and other.__module__ != cls.__module__:
                cls.refused = True  # Python keeps the class among its parent's until it is collected
                raise TypeError(
                    f"{cls.__module__} defines {noun(cls.family())} '{cls.__name__}', but {other.__module__} already does; "
                    "rename one of them"
                )

    @classmethod
    def family(cls) -> type[Spec]:
        """Return the direct subclass of `Spec` that this class descends from (or is)."""
        lineage = [c for c in cls.__mro__ if issubclass(c, Spec)]
        return lineage[-2] if len(lineage) > 1 else Spec

    @classmethod
    def _descendants(cls) -> Iterator[type[Spec]]:
        yield cls
        for child in cls.__subclasses__():
            if not child.refused:
                yield from child._descendants()

    @classmethod
    def parts(cls) -> dict[str, type[Spec]]:
        """Import the family's home and return its concrete parts by name, in alphabetical order."""
        home = cls.family().home
        if home:
            module = importlib.import_module(home)
            for found in pkgutil.walk_packages(getattr(module, "__path__", ()), home + "."):
                importlib.import_module(found.name)
        named = {part.__name__: part for part in cls._descendants() if not inspect.isabstract(part)}
        return dict(sorted(named.items()))

    @classmethod
    def find(cls: type[S], name: str, where: str = "", modules: Iterable[str] = ()) -> type[S]:
        """Return the part of this family called ``name``.

        Already imported parts are found without importing the rest of the family's home.

        Raises:
            SpecError: there is none; suggests the closest name, and ``--import`` for the given user ``modules``.
        """
        found = cls._find(name)
        if found is None:
            raise unknown_part([cls], name, where, modules)
        return found

    @classmethod
    def _find(cls: type[S], name: str) -> type[S] | None:
        loaded = [part for part in cls._descendants() if part.__name__ == name and not inspect.isabstract(part)]
        found = loaded[-1] if loaded else cls.parts().get(name)  # the newest of a class redefined in its own module
        return typing.cast("type[S] | None", found)


# --- plain data ------------------------------------------------------------------------------------------------------


def to_dict(value: Any) -> Any:
    """Return ``value`` (a spec, or anything a field can hold) as plain data: dicts, lists, strings, numbers, None."""
    if isinstance(value, Spec):
        return {"type": type(value).__name__} | {name: to_dict(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {str(key): to_dict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_dict(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a spec holds plain data only, not {type(value).__name__}: {value!r}")


def from_dict(family: type[S], tree: Any, where: str = "", modules: Iterable[str] = ()) -> S:
    """Return the spec that the plain data ``tree`` describes; the inverse of `to_dict`.

    Args:
        family: the class to look for: a family, or one of its parts.
        tree: plain data; a missing ``type`` means ``family`` itself.
        where: dotted path to prefix to errors.
        modules: user modules that the stored tree is known to need, for the error message.

    Raises:
        SpecError: an unknown part or field, a missing field, or a value of the wrong type.
    """
    spec = _parse(family, tree, where, tuple(modules))
    if not isinstance(spec, family):
        raise SpecError(where, f"expected a {noun(family)}, got {spec!r}")
    return spec


def user_modules(spec: Spec) -> list[str]:
    """Return the modules outside detkit that define parts of ``spec``, as ``--import`` takes them: names, or files."""
    found = {type(spec).__module__}
    stack: list[Any] = [getattr(spec, name) for name in type(spec).model_fields]
    while stack:
        value = stack.pop()
        if isinstance(value, Spec):
            found.add(type(value).__module__)
            stack.extend(getattr(value, name) for name in type(value).model_fields)
        elif isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)
    user = [module for module in found if module.split(".")[0] != "detkit"]
    return sorted(getattr(sys.modules.get(module), "__detkit_file__", module) for module in user)


def _parse(annotation: Any, value: Any, where: str, modules: tuple[str, ...]) -> Any:
    """Replace plain data by specs wherever ``annotation`` asks for them; pydantic checks the rest."""
    specs = spec_classes(annotation)
    if isinstance(value, dict) and specs and ("type" in value or item_annotation(annotation, dict) is None):
        return _parse_spec(specs, value, where, modules)
    if isinstance(value, dict):
        item = item_annotation(annotation, dict)
        return {key: _parse(item, child, join(where, key), modules) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [_parse(item_annotation(annotation, list, i), child, join(where, i), modules) for i, child in enumerate(value)]
    return value


def _parse_spec(specs: list[type[Spec]], value: dict[str, Any], where: str, modules: tuple[str, ...]) -> Spec:
    fields = dict(value)
    cls = resolve(specs, fields.pop("type", None), where, modules)
    ready = {}
    for name, child in fields.items():
        ready[name] = _parse(field_annotation(cls, name, where), child, join(where, name), modules)
    try:
        return cls(**ready)
    except SpecError as error:
        inner = error.where.removeprefix(cls.__name__).lstrip(".")
        raise SpecError(join(where, inner) if inner else where or cls.__name__, error.text) from None


def resolve(specs: list[type[Spec]], name: str | None, where: str, modules: Iterable[str] = ()) -> type[Spec]:
    """Return the part called ``name`` in one of the families ``specs``; None means the only concrete class there."""
    if name is None:
        concrete = [cls for cls in specs if not inspect.isabstract(cls)]
        if len(concrete) == 1:
            return concrete[0]
        raise SpecError(where, f"which {' or '.join(noun(cls.family()) for cls in specs)}? Give its 'type'")
    for cls in specs:
        found = cls._find(name)
        if found is not None:
            return found
    raise unknown_part(specs, name, where, modules)


def unknown_part(families: list[type[Spec]], name: str, where: str, modules: Iterable[str] = ()) -> SpecError:
    """Return the error for a part that none of ``families`` has."""
    kinds = " or ".join(noun(cls.family()) for cls in families)
    hint = suggestion(name, dict.fromkeys(part for cls in families for part in cls.parts()))
    user = sorted(modules)
    needs = f"; it may come from your own code: add --import {' --import '.join(user)}" if user else ""
    return SpecError(where, f"no {kinds} '{name}'{hint}{needs}")


# --- annotations -----------------------------------------------------------------------------------------------------


def alternatives(annotation: Any) -> list[Any]:
    """Return the members of a union, or the annotation alone; ``Annotated`` is unwrapped."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return alternatives(typing.get_args(annotation)[0])
    if origin is typing.Union or origin is types.UnionType:
        return [found for member in typing.get_args(annotation) for found in alternatives(member)]
    return [annotation]


def spec_classes(annotation: Any) -> list[type[Spec]]:
    """Return the spec classes that a value of this annotation may itself be an instance of."""
    return [member for member in alternatives(annotation) if inspect.isclass(member) and issubclass(member, Spec)]


def item_annotation(annotation: Any, kind: type, index: int = 0) -> Any:
    """Return what a container annotation holds: values of a dict, or item ``index`` of a tuple or list; else None."""
    for member in alternatives(annotation):
        origin, args = typing.get_origin(member), typing.get_args(member)
        if not inspect.isclass(origin):
            continue
        if kind is dict and issubclass(origin, Mapping):
            return args[1]
        if kind is list and issubclass(origin, list | tuple):
            if origin is tuple and Ellipsis not in args:
                return args[index] if index < len(args) else None
            return args[0]
    return None


def field_annotation(cls: type[Spec], name: str, where: str) -> Any:
    """Return the annotation of a field; an unknown name is an error with a suggestion."""
    if name not in cls.model_fields:
        raise SpecError(where or cls.__name__, f"no field '{name}'{suggestion(name, cls.model_fields)}")
    return cls.model_fields[name].annotation


# --- words -----------------------------------------------------------------------------------------------------------


def join(where: str, key: object) -> str:
    """Return the dotted path of ``key`` below ``where``."""
    return f"{where}.{key}" if where else str(key)


def suggestion(name: str, options: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the closest option, else the list of options."""
    known = list(options)
    folded = {option.lower().replace("_", ""): option for option in known}
    close = difflib.get_close_matches(name.lower().replace("_", ""), folded, 1, 0.6)
    if close:
        return f"; did you mean '{folded[close[0]]}'?"
    return f"; there are: {', '.join(known)}" if known else ""


def explain(cls: type[Spec], error: ValidationError) -> SpecError:
    """Turn pydantic's first complaint about ``cls`` into one sentence that starts with the path."""
    complaint = error.errors()[0]
    path, kind = [str(part) for part in complaint["loc"]], complaint["type"]
    if kind == "extra_forbidden":
        *parents, name = path
        where, text = parents, f"no field '{name}'{suggestion(name, cls.model_fields)}"
    elif kind == "missing":
        *parents, name = path
        where, text = parents, f"the field '{name}' is missing"
    elif kind == "value_error":
        where, text = path, str(complaint["ctx"]["error"])
    else:
        field = cls.model_fields.get(path[0]) if path else None
        wanted = spec_classes(field.annotation) if field else []
        message = complaint["msg"][0].lower() + complaint["msg"][1:]
        if wanted and kind in ("model_type", "is_instance_of"):
            message = f"should be a {' or '.join(noun(c.family()) for c in wanted)}"
        where, text = path[:1] + [p for p in path[1:] if p.isdigit()], f"{message} (got {complaint['input']!r})"
    return SpecError(".".join([cls.__name__, *where]), text)


def noun(cls: type[Spec]) -> str:
    """Return a family's name as words: ``BoxLossSpec`` is a "box loss"."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*", cls.__name__.removesuffix("Spec"))
    return " ".join(word if word.isupper() else word.lower() for word in words) or cls.__name__
