"""``tools/list.py [FAMILY]``: the registered parts, with their fields, defaults and one-line descriptions."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence

import detkit.experiment  # noqa: F401 (brings every family in)
from detkit.cli.config import import_modules
from detkit.cli.run import run, take_modules
from detkit.cli.show import first_line, part_text
from detkit.errors import UserError
from detkit.spec import Spec, item_annotation, noun, spec_classes, suggestion


def main(argv: Sequence[str] | None = None) -> int:
    """List the parts of one family, or of all."""
    parser = argparse.ArgumentParser(prog="list.py", description="List the registered parts of a family, or of all.")
    parser.add_argument(
        "family", nargs="?", help="block, stage, backbone, neck, head, 'box loss', ...; or the name of a field: unit, matcher"
    )
    take_modules(parser)
    return run(parser, _list, argv)


def _list(arguments: argparse.Namespace) -> int:
    import_modules(arguments.modules)
    known = families()
    chosen = [family_named(arguments.family, known)] if arguments.family else [known[name] for name in sorted(known)]
    for family in chosen:
        parts = family.parts()
        where = f" in {family.home}" if family.home else ""
        print(f"{noun(family)}: {first_line(family)} ({len(parts)}{where})")
        for part in parts.values():
            print(part_text(part))
        print()
    return 0


def families() -> dict[str, type[Spec]]:
    """Return all families by name; those that only parts of others use are known once these are imported."""
    for family in Spec.__subclasses__():
        family.parts()
    return {noun(family): family for family in Spec.__subclasses__()}


def family_named(name: str, families: dict[str, type[Spec]]) -> type[Spec]:
    """Return the family of this name, or that of a field of this name: ``matcher``, ``unit``.

    Raises:
        UserError: there is neither, or the field holds a value.
    """
    wanted = name.lower().replace("_", " ").replace("-", " ").removesuffix("spec").strip()
    for known, family in families.items():
        if wanted in (known.lower(), f"{known.lower()}s", known.lower().replace(" ", "")):
            return family
    fields = _fields(families.values())
    if wanted in fields:
        return fields[wanted]
    parts = [part for known in sorted(families) for part in families[known].parts().values()]
    owners = [part for part in parts if wanted in map(_words, part.model_fields)]
    if owners:
        where = " or ".join(dict.fromkeys(shlex.quote(noun(part.family())) for part in owners))
        names = ", ".join(part.__name__ for part in owners)
        raise UserError(f"{name} is no part but a value, in {names}; tools/list.py {where} shows it with its default")
    raise UserError(f"no family '{name}'{suggestion(wanted, dict.fromkeys([*families, *fields]))}")


def _fields(families: Iterable[type[Spec]]) -> dict[str, type[Spec]]:
    """Return the fields of all parts that hold parts, by name in words, with the family of what they hold."""
    found: dict[str, type[Spec]] = {}
    for part in (part for family in families for part in family.parts().values()):
        for name, field in part.model_fields.items():
            whole = field.annotation
            for annotation in (whole, item_annotation(whole, list), item_annotation(whole, dict)):
                for held in spec_classes(annotation):
                    found.setdefault(_words(name), held.family())
    return found


def _words(name: str) -> str:
    """Return a field's name in words."""
    return name.replace("_", " ")
