"""Curves: one line a column of a table over its first column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detkit.figures.canvas import render, shortened

ALL = "all classes"
"""The column of means."""
NAMED = 10
"""Lines of classes that get a colour and a name; more of them are grey."""
COLORS = 10
"""Lines of different colours; further ones are dashed."""
DOTTED = 60
"""Epochs up to which each has a dot."""


def draw_class_curves(header: Sequence[str], columns: Sequence[np.ndarray], title: str, note: str) -> np.ndarray:
    """Return a picture of curves of classes, from 0 to 1 both ways.

    Args:
        header: what is on the x axis, `ALL`, then the classes.
        columns: the values of each; NaN leaves a gap.
        title: what is on the y axis.
        note: says in the legend what the line of means tells.
    """
    x, mean, *classes = columns

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        few = len(classes) <= NAMED
        for number, (name, values) in enumerate(zip(header[2:], classes, strict=True)):
            label = shortened(name) if few else "each class" if not number else None
            axes.plot(x, values, linewidth=1, label=label, **({} if few else {"color": "0.7", "alpha": 0.6}))
        axes.plot(x, mean, linewidth=2.5, color="tab:blue" if not few else "black", label=note)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=header[0], ylabel=title, title=f"{title} over {header[0]}, IoU 0.50")
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))

    return render(paint, 8, 5)


def draw_epochs(header: Sequence[str], columns: Sequence[np.ndarray], title: str) -> np.ndarray:
    """Return a picture of numbers by epoch.

    Args:
        header: ``epoch``, then names.
        columns: the values of each; what is NaN or below 0 was not measured.
        title: of the picture.
    """
    epochs, *series = columns

    def paint(figure: Any) -> None:
        axes = figure.add_subplot()
        for number, (name, values) in enumerate(zip(header[1:], series, strict=True)):
            known = values >= 0  # NaN is not
            style = "-" if number < COLORS else "--"
            axes.plot(epochs[known], values[known], style, label=name, marker="." if known.sum() < DOTTED else None)
        axes.set(xlabel=header[0], title=title, ylim=(0, None))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))

    return render(paint, 8, 5)
