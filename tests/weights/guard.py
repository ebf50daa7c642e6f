"""Watches what reading a file does: events of Python's audit hooks, and memory."""

import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detkit.errors import UserError
from detkit.weights import read

FORBIDDEN = ("code.", "compile", "ctypes", "exec", "import", "marshal", "os.", "pickle.", "pty.", "shutil.", "socket.", "sub")
BYTES_FOR_A_BYTE, CONSTANT, NAMES = 512, 1 << 20, 16_000_000
"""The bounds that `detkit.weights.read` states, and what any file may take."""

_watching: list[Path] = []
_seen: list[str] = []


def _hook(event: str, args: tuple) -> None:
    if not _watching:
        return
    if event.startswith(FORBIDDEN):
        _seen.append(f"{event} {args}"[:200])
    if event == "open" and (args[0] != str(_watching[0]) or (args[1] or "r")[0] != "r"):
        _seen.append(f"open {args}")


sys.addaudithook(_hook)


@contextmanager
def watched(path: Path) -> Iterator[list[str]]:
    """Yield what happens that must not: imports, code run, processes, files other than ``path`` opened."""
    _seen.clear()
    _watching.append(path)
    try:
        yield _seen
    finally:
        _watching.clear()


def refusal(path: Path, constant: int = CONSTANT) -> str | None:
    """Read ``path`` under watch; return the sentence with which it was refused, None where it was read."""
    sentence = None
    tracemalloc.start()
    try:
        with watched(path) as seen:
            try:
                read(path)
            except UserError as error:
                sentence = str(error)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not seen, seen
    assert peak <= BYTES_FOR_A_BYTE * path.stat().st_size + constant, f"{peak} bytes for a file of {path.stat().st_size}"
    return sentence
