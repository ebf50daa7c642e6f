"""The folder that predictions go to: only files that an earlier prediction wrote are ever replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path

from detkit.errors import UserError

RECORD = ".predictions"
"""A hidden file in the folder: the paths, relative to it, of all that was written there, one a line as a JSON string."""


class OutputFolder:
    """A folder that knows which of its files are predictions; predicting into it again replaces those and no others.

    Attributes:
        path: the folder; made with the first file.
    """

    def __init__(self, path: Path) -> None:
        """Read what earlier predictions wrote there."""
        self.path = path
        self._record = path / RECORD
        self._own = _recorded(self._record)

    def check(self, path: Path) -> None:
        """Refuse a file that is not from an earlier prediction.

        Raises:
            UserError: there is such a file.
        """
        if path.relative_to(self.path).as_posix() not in self._own and os.path.lexists(path) and not path.is_dir():
            raise UserError(f"{path} exists, and is not from an earlier prediction; give another folder with --output")

    def claim(self, path: Path) -> Path:
        """Return ``path``, a file in the folder, ready to be written: its parent exists, and it is on record.

        Raises:
            UserError: there is such a file, and no prediction wrote it.
        """
        self.check(path)
        name = path.relative_to(self.path).as_posix()
        path.parent.mkdir(parents=True, exist_ok=True)
        if name not in self._own:
            with self._record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(name) + "\n")
            self._own.add(name)
        return path


def _recorded(record: Path) -> set[str]:
    """Return the lines of a record; one that was cut off counts for nothing."""
    if not record.is_file():
        return set()
    names = set()
    for line in record.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            names.add(str(json.loads(line)))
        except ValueError:
            continue
    return names
