"""The one door to matplotlib: it is imported when something is drawn, without pyplot, windows or settings that stay."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

DOTS = 110
"""Pixels an inch."""
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": DOTS,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "text.parse_math": False,
}
FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "Hiragino Sans GB",
    "Noto Sans",
    "Arial Unicode MS",
)
"""Families that know more scripts than matplotlib's own; those that are installed are used."""
LETTERS = 24
"""Letters of a class's name that are shown."""


def render(paint: Callable[[Any], None], width: float, height: float) -> np.ndarray:
    """Return what ``paint`` puts on an empty figure, whatever the user's own settings of matplotlib are.

    Args:
        paint: takes matplotlib's ``Figure``.
        width: inches.
        height: inches.

    Returns:
        (H, W, 3) uint8 RGB, `DOTS` pixels an inch.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | {"font.family": ["DejaVu Sans", *(name for name in FONTS if name in installed)]})
        figure = Figure(figsize=(width, height))
        canvas = FigureCanvasAgg(figure)
        paint(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def shortened(name: str) -> str:
    """Return a class's name in one line that is not too long."""
    line = " ".join(name.split())
    return line if len(line) <= LETTERS else f"{line[: LETTERS - 1]}…"
