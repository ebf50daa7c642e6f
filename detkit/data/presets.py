"""The drawn data sets: what they hold. `detkit.data.shapes` draws them."""

from __future__ import annotations

from typing import NamedTuple

CLASSES = ("disc", "square", "triangle", "star")
DEFAULT = "shapes"
"""What is trained on where no data set is named."""


class Preset(NamedTuple):
    """One data set of drawn objects."""

    size: int
    smallest: int
    largest: int
    most: int
    clutter: int
    overlap: int
    """Largest share of the smaller box that an older object may lose, in percent."""
    contrast: int
    """Least distance between the colours of an object and its ground, summed over channels."""
    images: dict[str, int]


PRESETS = {
    "shapes": Preset(192, 16, 96, 6, 12, 25, 90, {"train": 1000, "val": 200}),
    "shapes-hard": Preset(320, 12, 160, 12, 40, 60, 50, {"train": 1000, "val": 200}),
}
