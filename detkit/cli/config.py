"""Reading configs and the user's own modules."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from pydantic.errors import PydanticUserError

from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.overrides import override
from detkit.spec import from_dict, suggestion


def import_modules(names: Sequence[str]) -> list[ModuleType]:
    """Import and return the user's modules (dotted names or ``.py`` files), so that their parts can be named.

    The current folder is importable, as with ``python -m``.
    """
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109 (sys.path holds strings)
        sys.path.append("")  # last: a config of the user's called lightning.py must not hide the library
    found = []
    for name in names:
        if name.endswith(".py"):
            file = _existing(Path(name).expanduser())
            known = sys.modules.get(_module_name(file))
            if known is None or getattr(known, "__file__", None) != str(file.resolve()):
                known = _import_file(file)
            found.append(known)
            continue
        try:
            found.append(importlib.import_module(name))
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            raise UserError(
                f"--import {name}: no module '{error.name}' in {Path.cwd()} or among the installed packages"
            ) from None
    return found


def load_config(path: str) -> Experiment:
    """Return the experiment of a config: a Python file that defines ``config``, or a run's ``config.json``.

    Raises:
        UserError: no such file, no ``config`` in it, or an error in it; names the file and line.
    """
    file = _existing(Path(path).expanduser())
    if file.suffix == ".json":
        return _stored(file)
    module = _import_file(file)
    config = getattr(module, "config", None)
    if not isinstance(config, Experiment):
        what = "defines no 'config'" if config is None else f"has a 'config' that is a {type(config).__name__}"
        raise UserError(f"{file} {what}; it must hold `config = Experiment(model=..., ...)`")
    return config


def configured(config: str | None, overrides: Sequence[str]) -> tuple[Experiment, str]:
    """Return a config's experiment with its overrides, and what its runs are called.

    Raises:
        UserError: there is no config, or something in it or in the overrides is wrong.
    """
    if config is None or "=" in config:
        raise UserError("which config? It comes first: CONFIG [path=value ...], as in configs/yolo11n.py recipe.epochs=50")
    path = Path(config)
    name = path.resolve().parent.parent.name if path.name == "config.json" else path.stem
    return override(load_config(config), overrides), name


def _existing(file: Path) -> Path:
    if file.is_file():
        return file
    if file.is_dir():
        raise UserError(f"{file} is a folder; give a config file, such as {file / 'yolo11n.py'}")
    folder = file.parent if file.parent.is_dir() else Path("configs")
    others = sorted(str(other) for other in folder.glob("*.py"))
    named = Path("configs") / f"{file.stem}.py"
    near = f"; did you mean '{named}'?" if named.is_file() else suggestion(str(file), others)
    raise UserError(f"no file '{file}'{near}")


def _stored(file: Path) -> Experiment:
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{file} is not JSON: {error}") from None
    if not isinstance(stored, dict) or "experiment" not in stored:
        raise UserError(f"{file} holds no 'experiment'; a run's config.json does")
    return from_dict(Experiment, stored["experiment"], modules=stored.get("modules", ()))


def _module_name(file: Path) -> str:
    """Return the name to import a file under: its stem, unless that is another module's."""
    try:
        found = importlib.util.find_spec(file.stem)
    except ValueError:  # a module without a spec, such as __main__
        return f"config_{file.stem}"
    same = found is None or (found.origin is not None and Path(found.origin).resolve() == file.resolve())
    return file.stem if same else f"config_{file.stem}"


def told(error: Exception) -> str:
    """Return what is wrong in a user's file, without what their line says already or only a library's developer needs."""
    if isinstance(error, UserError):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    untyped = re.match(r"A non-annotated attribute was detected: `(.*?)`\.", text)
    if isinstance(error, PydanticUserError) and untyped:
        return f"a field needs a type, as in `kernel_size: int = 3`; this has none: `{untyped[1]}`"
    return f"{type(error).__name__}: {text}"


def _import_file(file: Path) -> ModuleType:
    """Import ``file``; an error in it is told with its line there."""
    name, path = _module_name(file), str(file.resolve())
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    vars(module)["__detkit_file__"] = str(file)  # what --import takes, for runs that need its parts
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        frames = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
        raise UserError(f"{file}{f', line {line}' if line else ''}: {told(error)}") from error
    return module
