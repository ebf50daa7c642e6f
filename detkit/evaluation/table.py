"""Text tables for the terminal that stay aligned whatever the script of the names."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def align(rows: Sequence[Sequence[str]], left: int = 0) -> list[str]:
    """Return rows of cells as lines: the first ``left`` columns flush left, the others flush right."""
    widths = [max(_width(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = []
        for position, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - _width(cell))
            padded.append(cell + space if position < left else space + cell)
        lines.append("  ".join(padded).rstrip())
    return lines


def _width(text: str) -> int:
    """Return the columns that a terminal gives to ``text``: two for a Chinese character, none for a combining mark."""
    return sum(0 if unicodedata.combining(char) else 1 + (unicodedata.east_asian_width(char) in "WF") for char in text)
