"""``tools/list.py [FAMILY]``: the registered parts, with their fields, defaults and one-line descriptions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import detkit.experiment  # noqa: F401 (brings every family in)
from detkit.cli.config import import_modules
from detkit.cli.run import run
from detkit.cli.show import first_line, part_text
from detkit.errors import UserError
from detkit.spec import Spec, noun, suggestion


def main(argv: Sequence[str] | None = None) -> int:
    """List the parts of one family, or of all."""
    parser = argparse.ArgumentParser(prog="list.py", description="List the registered parts of a family, or of all.")
    parser.add_argument("family", nargs="?", help="block, stage, backbone, neck, head, 'box loss', ...")
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE", help="your own parts")
    return run(parser, _list, argv)


def _list(arguments: argparse.Namespace) -> int:
    import_modules(arguments.modules)
    families = {noun(family): family for family in Spec.__subclasses__()}
    chosen = [_family(arguments.family, families)] if arguments.family else [families[name] for name in sorted(families)]
    for family in chosen:
        parts = family.parts()
        where = f" in {family.home}" if family.home else ""
        print(f"{noun(family)}: {first_line(family)} ({len(parts)}{where})")
        for part in parts.values():
            print(part_text(part))
        print()
    return 0


def _family(name: str, families: dict[str, type[Spec]]) -> type[Spec]:
    wanted = name.lower().replace("_", " ").replace("-", " ").removesuffix("spec").strip()
    for known, family in families.items():
        if wanted in (known.lower(), f"{known.lower()}s", known.lower().replace(" ", "")):
            return family
    raise UserError(f"no family '{name}'{suggestion(wanted, families)}")
