"""What a case is, how it is run, and what comes of it.

A case is a function of a subject. Its name says what holds, the first line of its docstring says it in full. It raises
`Broken` where the contract doesn't hold, `Skipped` where it doesn't apply, and may return a note.
"""

from __future__ import annotations

import re
import sysconfig
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from detkit.checks.hints import hint
from detkit.errors import MissingPackage

Case = Callable[[Any], "str | None"]

LIBRARIES = tuple(str(Path(path)) for path in (torch.__path__[0], Path(__file__).parent, sysconfig.get_path("stdlib")))
"""Where code lies that nobody wants to be pointed at."""
PACKAGE = str(Path(__file__).parents[1])


class Broken(Exception):  # noqa: N818 (no error of ours: what a case has found)
    """The contract doesn't hold.

    Args:
        message: what is wrong, with the numbers.
        advice: what to write instead.
    """

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message, self.advice = message, advice


class Skipped(Exception):  # noqa: N818
    """The case doesn't apply to the part, or can't be run here; the message says why."""


@dataclass(frozen=True)
class Finding:
    """What came of a case.

    Attributes:
        case: its name, in words.
        promise: what it holds the part to.
        outcome: of the case.
        text: what is wrong, why it was skipped, or a note.
        advice: what to write instead.
        place: ``file:line`` of the part's own code, where an error has one.
        seconds: that the case took.
    """

    case: str
    promise: str
    outcome: Literal["held", "broke", "skipped"]
    text: str = ""
    advice: str = ""
    place: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Card:
    """All findings about one part.

    Attributes:
        part: its name, with the fields that differ from their defaults.
        family: of the part, in words.
        findings: one a case.
    """

    part: str
    family: str
    findings: tuple[Finding, ...]

    def count(self, outcome: str) -> int:
        """Return how many cases ended so."""
        return sum(finding.outcome == outcome for finding in self.findings)

    @property
    def seconds(self) -> float:
        """Return how long all cases took."""
        return sum(finding.seconds for finding in self.findings)


def title(case: Case) -> str:
    """Return a case's name in words."""
    return case.__name__.replace("_", " ")


def promise(case: Case) -> str:
    """Return what a case holds the part to: one sentence."""
    return (case.__doc__ or "").strip().split("\n")[0]


def unexamined(case: Case, reason: str) -> Finding:
    """Return what stands on the card for a case that is left out."""
    return Finding(title(case), promise(case), "skipped", reason)


def examine(case: Case, subject: Any) -> Finding:
    """Run one case; whatever the part raises becomes a finding. Global random states are left as they were."""
    start = time.perf_counter()
    outcome: Literal["held", "broke", "skipped"] = "held"
    text, advice, where = "", "", ""
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = case(subject) or ""
    except (Skipped, MissingPackage) as reason:
        outcome, text = "skipped", str(reason)
    except Broken as error:
        outcome, text, advice, where = "broke", error.message, error.advice, place(error)
    except Exception as error:  # noqa: BLE001 (the part's own code: whatever it raises is a finding)
        outcome, text, where = "broke", headline(error), place(error)
        advice = hint(str(error))
    return Finding(title(case), promise(case), outcome, text, advice, where, time.perf_counter() - start)


def headline(error: BaseException) -> str:
    """Return an error's kind and the first lines of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])}"[:400].rstrip(": ")


def place(error: BaseException) -> str:
    """Return ``file:line`` of the part's own code that an error passed last; nothing where it passed none."""
    passed = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    told = re.findall(r'File "([^"]+)", line (\d+)', str(error))  # compilers tell the line in their message
    own = [(file, line) for file, line in [*told, *passed] if not file.startswith((*LIBRARIES, "<"))]
    users = [(file, line) for file, line in own if not file.startswith(PACKAGE)]
    chosen = (users or own)[-1:]
    return "".join(f"{file}:{line}" for file, line in chosen)
