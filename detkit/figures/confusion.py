"""The confusion matrix: boxes of which class are found as which, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detkit.figures.canvas import render, shortened

BACKGROUND = "background"
WRITTEN = 20
"""Classes up to which the numbers are written into the cells."""


def normalise(counts: np.ndarray) -> np.ndarray:
    """Return the shares of each row; NaN where a row is empty."""
    totals = counts.sum(1, keepdims=True)
    return counts / np.where(totals > 0, totals, np.nan)


def draw_matrix(names: Sequence[str], values: np.ndarray, title: str) -> np.ndarray:
    """Return a picture of a matrix, boxes by row and detections by column.

    Args:
        names: of rows and columns.
        values: counts or shares; NaN leaves a cell empty.
        title: of the picture.
    """
    count = len(names)
    labels = [shortened(name) for name in names]

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        most = max(float(np.nan_to_num(values).max()), 1e-9)
        image = axes.imshow(np.sqrt(values / most), cmap="Blues", vmin=0, vmax=1, aspect="equal")
        axes.grid(visible=False)
        size = 8 if count <= 40 else 7 if count <= 90 else 5
        axes.set_xticks(range(count), labels, rotation=90, fontsize=size)
        axes.set_yticks(range(count), labels, fontsize=size)
        axes.set(xlabel="found as", ylabel="is", title=title)
        if count > WRITTEN:
            shares = np.array([0, 0.1, 0.25, 0.5, 1])
            bar = figure.colorbar(image, ticks=np.sqrt(shares), shrink=0.4, aspect=30, pad=0.01)
            bar.ax.set_yticklabels([f"{share * most:.3g}" for share in shares])
            return
        for row, column in np.argwhere(values > 0).tolist():
            value = float(values[row, column])
            text = f"{value:.2f}" if most <= 1 and not value.is_integer() else f"{value:.0f}"
            color = "white" if value > 0.35 * most else "black"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)

    side = float(np.clip(3 + 0.4 * count, 5, 14))
    return render(paint, side, side)
