"""What a check finds, and what follows from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from detkit.data.raw import MOST_PLACES

MOST_EXHIBITS = 8
"""Pictures of a finding."""


class Effect(Enum):
    """What a finding does to a run; the first two make a check fail."""

    REFUSED = "refused"
    """No run starts."""
    CHANGES = "changes the score"
    """A run starts, but what is learnt or scored is not what was meant."""
    MENDED = "mended"
    """Every run mends it, and nothing is lost."""
    NOTED = "noted"
    """No harm."""

    @property
    def fails(self) -> bool:
        """Whether a data set with such a finding is not in order."""
        return self in (Effect.REFUSED, Effect.CHANGES)


class Exhibit(NamedTuple):
    """Something to be shown: a picture with the boxes in question, or two side by side.

    Attributes:
        caption: which it is.
        paths: image files.
        boxes: of the first one, x, y, width, height in pixels as it was written, however wrong.
        upright: boxes are of the picture turned as its orientation tag says.
    """

    caption: str
    paths: tuple[str, ...]
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    upright: bool = False


@dataclass(frozen=True)
class Finding:
    """One kind of thing that is not as it should be, in one split.

    Attributes:
        what: "images that are missing".
        effect: what it does to a run.
        split: where.
        count: how many.
        places: the first few, by file and line.
        remedy: what a run does about it, and what to do.
        exhibits: the first few, to be shown.
    """

    what: str
    effect: Effect
    split: str
    count: int
    places: tuple[str, ...]
    remedy: str
    exhibits: tuple[Exhibit, ...] = ()


class Complaints:
    """What readers complain of, collected: a `detkit.data.raw.Complain` that returns.

    Attributes:
        split: which one is read.
    """

    def __init__(self) -> None:
        self.split = ""
        self._found: dict[tuple[str, str], tuple[str, list[str]]] = {}

    def __call__(self, what: str, sentence: str, places: Sequence[str]) -> None:
        """Collect what a run would refuse."""
        self._found.setdefault((self.split, what), (sentence, []))[1].extend(places)

    def findings(self) -> list[Finding]:
        """Return what was found."""
        return [
            Finding(what, Effect.REFUSED, split, len(set(places)), tuple(dict.fromkeys(places))[:MOST_PLACES], sentence)
            for (split, what), (sentence, places) in self._found.items()
        ]
