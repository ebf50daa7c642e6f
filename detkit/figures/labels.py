"""What the boxes of a training set are like: how many of each class, where, and how large."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detkit.data.annotations import Annotations
from detkit.figures.canvas import render, shortened
from detkit.figures.tables import numbers, read_table, write_table

CELLS = 50
"""Of each side of the maps."""
SHOWN = 80
"""Classes in the picture, the most frequent; the table has all."""
MAPS = {
    "label_centres": ("centre x", "centre y", "centres of boxes, as shares of the image's sides"),
    "label_sizes": ("width", "height", "sizes of boxes, as shares of the image's sides"),
}
"""Axes and title by file."""


def write_labels(folder: Path, train: Annotations) -> None:
    """Write ``labels.csv``, ``label_centres.csv`` and ``label_sizes.csv``; crowds are left out."""
    used = ~train.crowds
    counts = np.bincount(train.labels[used], minlength=len(train.names))
    images = np.bincount(np.unique(np.stack([train.labels, train.owners])[:, used], axis=1)[0], minlength=len(train.names))
    rows = zip(train.names, counts.tolist(), images.tolist(), strict=True)
    write_table(folder / "labels.csv", ("class", "boxes", "images"), rows)
    sides = train.sizes[train.owners[used]][:, ::-1]
    corner, size = train.boxes[used, :2] / sides, train.boxes[used, 2:] / sides
    for stem, shares in (("label_centres", corner + size / 2), ("label_sizes", size)):
        cells = (shares * CELLS).astype(np.int64).clip(0, CELLS - 1)
        grid = np.bincount(cells[:, 0] * CELLS + cells[:, 1], minlength=CELLS**2).reshape(CELLS, CELLS)
        filled = np.argwhere(grid)
        columns = [((filled + 0.5) / CELLS).T.tolist(), [grid[tuple(filled.T)].tolist()]]
        write_table(folder / f"{stem}.csv", (*MAPS[stem][:2], "boxes"), zip(*columns[0], *columns[1], strict=True))


def draw_labels(folder: Path) -> dict[str, np.ndarray]:
    """Return the pictures of the three files by their names."""
    _, rows = read_table(folder / "labels.csv")
    pictures = {"labels": _bars([row[0] for row in rows], numbers(row[1] for row in rows))}
    for stem in MAPS:
        _, cells = read_table(folder / f"{stem}.csv")
        pictures[stem] = _map(np.array([numbers(cell) for cell in cells]).reshape(-1, 3), *MAPS[stem])
    return pictures


def _bars(names: Sequence[str], counts: np.ndarray) -> np.ndarray:
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    places = range(len(order))
    more = f", the {len(order)} most frequent of {len(counts)} classes" if len(order) < len(counts) else ""

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        bars = axes.barh(places, counts[order], height=0.8)
        axes.bar_label(bars, [f"{counts[label]:,.0f}" for label in order], padding=2, fontsize=7)
        axes.set_yticks(places, [shortened(names[label]) for label in order], fontsize=8)
        axes.set(ylim=(len(order) - 0.5, -0.5), title=f"training boxes by class{more}")
        axes.grid(axis="y", visible=False)

    return render(paint, 8, max(2.5, 1 + 0.19 * len(order)))


def _map(cells: np.ndarray, across: str, up: str, title: str) -> np.ndarray:
    grid = np.zeros((CELLS, CELLS))
    columns, rows = (cells[:, :2].T * CELLS).astype(np.int64)
    grid[rows, columns] = cells[:, 2]

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        centres = "centre" in up
        axes.imshow(
            np.sqrt(grid),
            cmap="Blues",
            extent=(0, 1, 1, 0) if centres else (0, 1, 0, 1),
            origin="upper" if centres else "lower",
        )
        axes.set(xlabel=across, ylabel=up, title=title)

    return render(paint, 5.5, 5.5)
