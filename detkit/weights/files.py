"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

PARTIAL = ".partial"
"""Ending of a file that is being written; what a killed process leaves."""


def replace_file(path: Path, data: bytes | memoryview) -> None:
    """Put ``data`` in the place of a file; whoever looks, after a crash too, finds the old one or the new one, never a part.

    Raises:
        OSError: the disk is full or the folder cannot be written to; the old file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}{PARTIAL}")
    try:
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove what killed processes left of files that they were writing in ``folder`` and below."""
    for path in folder.rglob(f".*{PARTIAL}"):
        path.unlink(missing_ok=True)
