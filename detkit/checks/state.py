"""Cases about what is stored: the spec, the state dict, official names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

from torch import nn

from detkit.checks.case import Broken, Skipped
from detkit.checks.subject import MapSubject, Subject, near
from detkit.spec import from_dict, to_dict
from detkit.weights.official import rename


def is_stored_and_found_by_name(subject: Subject) -> None:
    """The spec's stored form gives an equal spec, and its family finds it by its name."""
    spec = subject.spec
    found = spec.family().find(subject.name)
    if found is not type(spec):
        raise Broken(f"'{subject.name}' finds {found.__module__}.{found.__name__}, another part", "rename the class")
    if from_dict(spec.family(), to_dict(spec)) != spec:
        raise Broken("its stored form gives another spec", "hold plain data and specs in its fields")


def is_documented(subject: Subject) -> str | None:
    """The class and each field say in a sentence what they are for; ``tools/list.py`` shows it."""
    cls = type(subject.spec)
    silent = [name for name, field in cls.model_fields.items() if not field.description]
    texts = [] if (cls.__doc__ or "").strip() else ["the class has no docstring"]
    texts += [f"no text under the field{'s' if len(silent) > 1 else ''} {', '.join(silent)}"] if silent else []
    return f"{'; '.join(texts)}: tools/list.py has nothing to say there" if texts else None


def registers_its_parts(subject: MapSubject) -> None:
    """Modules and parameters lie where PyTorch sees them, so that they are trained, moved and saved."""
    module = subject.built()
    seen = {id(part) for part in (*module.modules(), *module.parameters())}
    own = vars(nn.Module())
    for path, part in module.named_modules():
        for name, value in vars(part).items():
            if name in own or not isinstance(value, Mapping | list | tuple | set):
                continue
            items = value.values() if isinstance(value, Mapping) else value
            hidden = [item for item in items if isinstance(item, nn.Module | nn.Parameter) and id(item) not in seen]
            if hidden:
                kind = "Module" if isinstance(hidden[0], nn.Module) else "Parameter"
                container = "Dict" if isinstance(value, Mapping) else "List"
                raise Broken(
                    f"the {type(value).__name__} `{'.'.join(filter(None, (path, name)))}` hides what it holds from PyTorch: "
                    "it would not be trained, moved or saved",
                    f"write self.{name} = nn.{kind}{container}(...)",
                )


def round_trips_its_state(subject: MapSubject) -> None:
    """Its state dict loads strictly into a new instance, which then gives the same; no key or shape follows an input's size."""
    module, maps = subject.scrambled(), subject.maps(2)
    other = subject.built(seed=1)
    fresh = {name: tuple(value.shape) for name, value in other.state_dict().items()}
    subject.evaluate(module, subject.maps(1, subject.larger))
    expected = subject.evaluate(module, maps)
    state = module.state_dict()
    for name, value in state.items():
        if fresh.get(name) != tuple(value.shape):
            before = fresh.get(name, "absent")
            raise Broken(
                f"after inputs of several sizes '{name}' is {tuple(value.shape)} in the state dict; it was {before}",
                "register what follows from sizes with persistent=False, or keep it in a detkit.nn.cached.Cached",
            )
    missing, unexpected = other.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise Broken(f"missing {missing}, unexpected {unexpected}", "create all parameters in __init__")
    near(
        subject.evaluate(other, maps),
        expected,
        0,
        "a new instance with the same state",
        "what is drawn or learnt belongs in a parameter or buffer",
    )


def official_names_lead_somewhere(subject: MapSubject) -> str | None:
    """Each tensor has one official name, which leads back to it; names of what this form of the part lacks are noted."""
    module = subject.built()
    tables = [part for part in module.modules() if getattr(part, "official", None)]
    if not tables:
        raise Skipped("it has no table of official names")
    absent = sorted({name for part in tables for name in _absent(part, part.official)})  # type: ignore[arg-type]
    names = list(module.state_dict())
    official = [_theirs(module, name.split(".")) for name in names]
    found = rename(module, official)
    for ours, theirs in zip(names, official, strict=True):
        if found.get(theirs) != ours:
            raise Broken(
                f"'{ours}' is '{theirs}' in the official names, which leads back to '{found.get(theirs)}'",
                "let each official name lead to one of ours, and no two to the same",
            )
    return f"leads to what this form of it doesn't have: {', '.join(absent)}" if absent else None


def _absent(part: nn.Module, table: Mapping[str, str | None]) -> list[str]:
    """Return our names in a table of official names that ``part`` doesn't have.

    Raises:
        Broken: two official names lead to one of ours.
    """
    targets = [ours for ours in table.values() if ours is not None]
    for ours in targets:
        if targets.count(ours) > 1:
            text = f"{type(part).__name__}.official leads to '{ours}' twice"
            raise Broken(text, "each of our names stands for one official name")
    return [ours for ours in targets if _below(part, ours) is None]


def _below(part: Any, path: str) -> Any:
    """Return what a dotted name means below ``part``; None where there is no such thing."""
    return reduce(lambda parent, word: getattr(parent, word, None), path.split("."), part)


def _theirs(part: Any, words: list[str]) -> str:
    """Return the official name of what ``words`` name below ``part``."""
    if not words:
        return ""
    back = {ours: theirs for theirs, ours in getattr(part, "official", {}).items() if ours is not None}
    count = next((count for count in range(len(words), 0, -1) if ".".join(words[:count]) in back), 1)
    ours = ".".join(words[:count])
    return ".".join(filter(None, (back.get(ours, ours), _theirs(_below(part, ours), words[count:]))))
