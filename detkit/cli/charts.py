"""Pictures of a data set as SVG text: boxes by class, and sizes of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from detkit.figures.canvas import shortened

COLORS = {"train": "#2f6fb5", "val": "#e08a2c", "test": "#5a9a4b"}
MOST_CLASSES = 100
"""Bars; further classes are counted in a line."""
CELLS = 32
"""Of each side of the picture of sizes."""
OCTAVES = 8
"""Powers of two that it covers: from 1/256 of the image's side to all of it."""


def class_bars(names: Sequence[str], counts: Mapping[str, np.ndarray]) -> str:
    """Return bars of how many boxes each class has, the most frequent first, by split.

    Args:
        names: class names by label.
        counts: (C,) of each split.
    """
    order = np.argsort(-sum(counts.values(), np.zeros(len(names), np.int64)), kind="stable")[:MOST_CLASSES]
    most = max((int(values.max(initial=0)) for values in counts.values()), default=0) or 1
    step, bar = 14 * len(counts) + 6, 12
    parts = []
    for place, label in enumerate(order.tolist()):
        top = place * step
        parts.append(_text(150, top + 12, shortened(names[label]), anchor="end"))
        for number, (split, values) in enumerate(counts.items()):
            width = 420 * int(values[label]) / most
            y = top + number * 14
            parts.append(f'<rect x="158" y="{y}" width="{width:.1f}" height="{bar}" fill="{COLORS[split]}"/>')
            parts.append(_text(164 + width, y + 10, f"{int(values[label]):,}"))
    if len(names) > len(order):
        parts.append(_text(158, len(order) * step + 12, f"and {len(names) - len(order)} further classes"))
    return _svg(660, (len(order) + 1) * step, parts)


def size_map(shares: np.ndarray, split: str) -> str:
    """Return how many boxes there are of each width and height, as shares of their image's sides, by powers of two.

    Args:
        shares: (N, 2) width and height, in (0, 1].
        split: whose boxes they are.
    """
    places = np.floor(CELLS * (1 + np.log2(shares.clip(2.0**-OCTAVES, 1)) / OCTAVES)).clip(0, CELLS - 1).astype(np.int64)
    counts = np.bincount(places[:, 0] * CELLS + places[:, 1], minlength=CELLS * CELLS).reshape(CELLS, CELLS)
    darkness = np.sqrt(counts / max(1, counts.max(initial=0)))
    side = 256 // CELLS
    parts = ['<rect x="40" y="0" width="256" height="256" fill="#f4f4f6"/>']
    for column, row in np.argwhere(counts).tolist():
        x, y = 40 + column * side, 256 - (row + 1) * side
        parts.append(
            f'<rect x="{x}" y="{y}" width="{side}" height="{side}" fill="{COLORS[split]}" '
            f'fill-opacity="{0.15 + 0.85 * darkness[column, row]:.2f}"/>'
        )
    for octave in range(0, OCTAVES + 1, 2):
        place, word = 256 * (1 - octave / OCTAVES), f"1/{2**octave}" if octave else "1"
        parts.append(_text(40 + place, 272, word, anchor="middle"))
        parts.append(_text(36, 256 - place + 4, word, anchor="end"))
    parts.append(_text(168, 292, f"width (across) and height of {len(shares):,} boxes, shares of the image", anchor="middle"))
    return _svg(360, 300, parts)


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="11">{"".join(parts)}</svg>'
