"""``tools/check_module.py my_block.py:MyBlock``: parts, run through the whole contract of their family."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator, Sequence

from torch import nn
from tqdm import tqdm

from detkit.checks.contracts import check
from detkit.cli.cards import card_text, summary
from detkit.cli.config import import_modules
from detkit.cli.list import families, family_named
from detkit.cli.run import run, take_modules
from detkit.errors import UserError
from detkit.overrides import override, parse_text
from detkit.spec import Spec, field_annotation, from_dict, noun, suggestion

BROKE = 1
EPILOG = """\
TARGET is a file and a class in it (my_block.py:MyBlock), a file or module (every part it defines), or the name of a
registered part (C2f). Fields are set as everywhere: my_block.py:MyBlock heads=4.

The status is 0 where everything held, 1 where something broke, 2 where there is nothing to check."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print a card for each part: what held, what broke, and what to write instead."""
    parser = argparse.ArgumentParser(
        prog="check_module.py",
        usage="%(prog)s TARGET [field=value ...] [TARGET ...] [--all | --family FAMILY] [--slow]",
        description="Run parts through the whole contract of their family: shapes, gradients, precision, state, graphs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="see below")
    parser.add_argument("--all", action="store_true", help="every registered part")
    parser.add_argument("--family", metavar="FAMILY", help="every part of a family: block, backbone, 'box loss', ...")
    parser.add_argument("--slow", action="store_true", help="compile with inductor and export with free sizes, too")
    take_modules(parser)
    return run(parser, _check, argv)


def _check(arguments: argparse.Namespace) -> int:
    import_modules(arguments.modules)
    named = list(chosen(arguments.targets))
    swept = swept_parts(arguments.family, everything=arguments.all)
    if not named and not swept:
        raise UserError("which part? my_block.py:MyBlock, a registered name such as C2f, or --all")
    specs = named + [part() for part in swept if not required(part)]
    cards = []
    with tqdm(specs, unit="part", disable=None if len(specs) > 1 else True, leave=False) as bar:
        for spec in bar:
            bar.set_postfix_str(type(spec).__name__)
            cards.append(check(spec, slow=arguments.slow))
            bar.clear()
            print(card_text(cards[-1], brief=not named), flush=True)
    for part in swept:
        if required(part):
            print(f"{noun(part.family())} {part.__name__}: left out; it has no default for {', '.join(required(part))}")
    print(summary(cards))
    return BROKE if any(card.count("broke") for card in cards) else 0


def chosen(words: Sequence[str]) -> Iterator[Spec]:
    """Yield the specs that words from the command line name, with their fields set.

    Raises:
        UserError: one names no part, or a field is wrong or missing.
    """
    groups: list[tuple[str, list[str]]] = []
    for word in words:
        if not re.match(r"[A-Za-z_][\w.*]*=", word):
            groups.append((word, []))
        elif groups:
            groups[-1][1].append(word)
        else:
            raise UserError(f"'{word}' sets a field of which part? Name the part first: my_block.py:MyBlock {word}")
    for target, assignments in groups:
        for part in parts_named(target):
            named = f"{target}:{part.__name__}" if target.endswith(".py") else target
            yield with_fields(part, assignments, named)


def parts_named(target: str) -> list[type[Spec]]:
    """Return the parts that a file, a module, a class in either, or a registered name stands for.

    Raises:
        UserError: there is none.
    """
    place, _, name = target.partition(":") if re.search(r":\w+$", target) else (target, "", "")
    if not name and not re.search(r"[./]", place):
        found = [part for family in families().values() for part in family.parts().values() if part.__name__ == place]
        if not found:
            known = dict.fromkeys(part for family in families().values() for part in family.parts())
            raise UserError(f"no part '{place}' is registered{close(place, known)}; a file of yours is {place}.py:CLASS")
        return found
    [module] = import_modules([place])
    own = {key: value for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__}
    if name:
        if not hasattr(module, name):
            raise UserError(f"{place} has no class '{name}'{suggestion(name, own)}")
        return [checked(getattr(module, name), place)]
    parts = [value for value in own.values() if issubclass(value, Spec) and not inspect.isabstract(value)]
    for value in sorted(own.values(), key=lambda cls: not issubclass(cls, Spec)) if not parts else ():
        if issubclass(value, Spec | nn.Module):
            checked(value, place)  # says what it lacks
    if not parts:
        raise UserError(f"{place} defines no part: a class of detkit.parts (BlockSpec, NeckSpec, ...) with a build()")
    return parts


def close(name: str, known: dict[str, None]) -> str:
    """Return a suggestion, where there is a close one; not the list of all parts."""
    text = suggestion(name, known)
    return text if "did you mean" in text else ""


def checked(value: object, place: str) -> type[Spec]:
    """Return a class of ``place`` as a part.

    Raises:
        UserError: it is none.
    """
    if not inspect.isclass(value):
        raise UserError(f"{place}: that is a {type(value).__name__}, not a class")
    if not issubclass(value, Spec):
        raise UserError(
            f"{place}: {value.__name__} is no part but a plain class. A part is a spec that builds it: "
            f"class My{value.__name__}(BlockSpec): def build(self, channels): return {value.__name__}(channels); "
            "detkit/parts.py has the families"
        )
    if inspect.isabstract(value):
        raise UserError(f"{place}: {value.__name__} has no {', '.join(sorted(value.__abstractmethods__))}()")
    return value


def with_fields(part: type[Spec], assignments: Sequence[str], target: str) -> Spec:
    """Return a part with fields set from the command line.

    Raises:
        UserError: a field is unknown, wrong or missing.
    """
    needed = required(part)
    texts = {path: text for path, _, text in (word.partition("=") for word in assignments)}
    missing = [name for name in needed if name not in texts]
    if missing:
        values = " ".join(f"{name}=VALUE" for name in missing)
        raise UserError(f"{part.__name__} has no default for {', '.join(missing)}; write {target} {values}")
    given = {name: parse_text(field_annotation(part, name, ""), texts[name], name) for name in needed}
    return override(from_dict(part, given), [word for word in assignments if word.partition("=")[0] not in needed])


def required(part: type[Spec]) -> list[str]:
    """Return the fields of a part that have no default."""
    return [name for name, field in part.model_fields.items() if field.is_required()]


def swept_parts(family: str | None, *, everything: bool) -> list[type[Spec]]:
    """Return the parts of a family, or all registered ones."""
    if not family and not everything:
        return []
    known = families()
    chosen = [family_named(family, known)] if family else [known[name] for name in sorted(known)]
    return [part for one in chosen for part in one.parts().values()]
