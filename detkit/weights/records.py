"""What stands for foreign things in a file that is read without being run: names, and records of objects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):  # noqa: N818
    """What a file holds cannot be read, or must not be; the message goes on from the file's name: "is cut short"."""


@dataclass(frozen=True, slots=True)
class Name:
    """A class or a function that a file refers to, never looked up.

    Attributes:
        text: module and name, ``torch.nn.modules.conv.Conv2d``.
    """

    text: str

    @property
    def is_class(self) -> bool:
        """Whether its last word is capitalised, as those of classes are."""
        return self.text.rpartition(".")[2].lstrip("_")[:1].isupper()


@dataclass(eq=False, repr=False, slots=True)
class Record:
    """An object of a foreign class: what the file says of it, and no behaviour.

    Attributes:
        name: of its class, with the module.
        args: what it would have been made with.
        state: its attributes, usually by name.
        items: what was appended, where the class is a list.
        entries: what was set, where the class is a dictionary.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: list[Any] = field(default_factory=list)
    entries: dict[Any, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<record of {self.name}>"

    def get(self, attribute: str) -> Any:
        """Return an attribute, None where it has none of that name."""
        return self.state.get(attribute) if isinstance(self.state, dict) else None


class Budget:
    """How much work a file may ask for, so that neither time nor memory outgrow its size."""

    def __init__(self, units: int) -> None:
        self.left = units

    def spend(self, units: int) -> None:
        """Use up some of it.

        Raises:
            Refused: there is not so much left.
        """
        self.left -= units
        if self.left < 0:
            raise Refused("asks for more work than a file of its size can need")


def shown(text: str, length: int = 80) -> str:
    """Return a text of a file so that it is safe to print: short, without what moves a terminal's cursor."""
    clean = "".join(letter if letter.isprintable() else "?" for letter in text[: length + 1])
    return clean if len(clean) <= length else f"{clean[: length - 3]}..."


WORDS_IN_KEY = 16
WHOLE = 2**61 - 1
"""Integers below it are their own hash; larger ones could be chosen to collide."""


def checked_key(key: Any) -> Any:
    """Return ``key``, which is hashed in little time and like no other.

    Raises:
        Refused: it is not; nested tuples, for one, may take exponential time.
    """
    if type(key) is tuple and len(key) <= WORDS_IN_KEY and all(type(word) is not tuple for word in key):
        for word in key:
            checked_key(word)
    elif not isinstance(key, str | bytes | float | int | Name | Record | None) or (isinstance(key, int) and abs(key) >= WHOLE):
        raise Refused(f"looks things up by what is no usual key (a {type(key).__name__})")
    return key


def checked_items(value: Any, budget: Budget) -> Iterable[Any]:
    """Return a plain collection whose items are about to be copied.

    Raises:
        Refused: it is none, or there are too many.
    """
    if type(value) not in (list, tuple, set, frozenset, dict):
        raise Refused(f"copies the items of a {type(value).__name__}")
    budget.spend(len(value))
    return value
