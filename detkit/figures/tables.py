"""CSV files that pictures are drawn from: whole or not there, and empty cells for what has no value."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}
"""File names may be no UTF-8."""


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Replace a file; numbers get six digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}")
    aside.write_text(text.getvalue(), **ENCODING)
    aside.replace(path)


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return header and rows; none where there is no such file."""
    if not path.is_file():
        return [], []
    header, *rows = csv.reader(io.StringIO(path.read_text(**ENCODING)))
    return header, rows


def numbers(cells: Iterable[str]) -> np.ndarray:
    """Return cells as float64; NaN for empty ones."""
    return np.array([float(cell) if cell else math.nan for cell in cells])


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
