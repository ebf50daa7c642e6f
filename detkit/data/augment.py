"""What is done to training images, as numbers; `detkit.data.dataset` does it."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from detkit.spec import Spec

CLOSING_SHARE = 0.25
"""Mosaic stays on for at least the rest of a run, however short the run."""


class Albumentation(Spec):
    """A transform of albumentations, by name: ``Albumentation(name="Affine", arguments={"shear": 10, "p": 0.5})``."""

    home = "detkit.data"

    name: str
    """Class in albumentations."""
    arguments: dict[str, Any] = {}
    """What it is made with."""


class Augment(Spec):
    """Augmentation of training images; the defaults are the published recipe of YOLOv8 and YOLO11."""

    home = "detkit.data"

    mosaic: float = Field(1.0, ge=0, le=1)
    """Probability that four images share one input, each in its own quadrant."""
    close_mosaic: int = Field(10, ge=0)
    """Last epochs without mosaic; a quarter of the run at most."""
    scale: float = Field(0.5, ge=0, lt=1)
    """Images are zoomed by a random factor in [1 - x, 1 + x]."""
    translate: float = Field(0.1, ge=0, le=1)
    """Images are moved by up to this share of the input, each way."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of mirroring left to right."""
    hue: float = Field(0.015, ge=0, le=1)
    """Hue is multiplied by a random factor in [1 - x, 1 + x], round the circle."""
    saturation: float = Field(0.7, ge=0, le=1)
    """Saturation is multiplied by a random factor in [1 - x, 1 + x]."""
    value: float = Field(0.4, ge=0, le=1)
    """Brightness is multiplied by a random factor in [1 - x, 1 + x]."""

    extra: tuple[Albumentation, ...] = ()
    """Further transforms, applied in order to the picture before its colours are changed; they must keep its size."""

    def mosaic_epochs(self, epochs: int) -> int:
        """Return how many of ``epochs`` have mosaic: all but the last ones."""
        return epochs - min(self.close_mosaic, int(epochs * CLOSING_SHARE))
