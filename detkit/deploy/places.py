"""Texts that say nothing of the machine that they were written on: folders' names hold people's names."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOCAL = ("data", "init", "trainer", "output")
"""Fields of an experiment that hold paths: of them only the last word is told."""
AS_THEY_ARE = ("names",)
"""Fields that are no paths though they may look like some: classes are called /m/01g317, too."""
ANYWHERE = re.compile(r"(?<![\w:/\\.])(?:~\w*|[A-Za-z]:|file:/)?[\\/](?:[^\\/\n\"']*[\\/])*")
"""Folders of a full path, also within a text."""


def without_places(experiment: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment's plain tree without the folders of its paths."""
    return {field: _mapped(value, last_word if field in LOCAL else without_folders) for field, value in experiment.items()}


def last_word(path: str) -> str:
    """Return the last name in a path, which is not that of the home folder."""
    word = re.split(r"[\\/]", path.rstrip("\\/"))[-1]
    return "home" if word.startswith("~") or word == Path.home().name else word


def without_folders(text: str) -> str:
    """Return a text in which full paths are files' names."""
    return ANYWHERE.sub("", text)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """Return plain data with every text changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: item if key in AS_THEY_ARE else _mapped(item, change) for key, item in value.items()}
    return [_mapped(item, change) for item in value] if isinstance(value, list | tuple) else value
