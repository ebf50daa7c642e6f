"""What is done to training images, as numbers; `detkit.data.dataset` does it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from detkit.spec import Spec

CLOSING_SHARE = 0.25
"""Strong augmentation stays on for at least the rest of a run, however short the run."""


class Albumentation(Spec):
    """A transform of albumentations, by name: ``Albumentation(name="Affine", arguments={"shear": 10, "p": 0.5})``."""

    home = "detkit.data"

    name: str
    """Class in albumentations."""
    arguments: dict[str, Any] = {}
    """What it is made with."""


class Augment(Spec):
    """Augmentation of training images; the defaults are the published recipe of YOLOv8 and YOLO11.

    Strong augmentation makes pictures that look like no photograph, and ends some epochs before the run does: mosaic,
    copy-paste, mixup, zoom-out, crop and photometric distortion stop together.
    """

    home = "detkit.data"

    close_mosaic: int = Field(10, ge=0)
    """Last epochs without strong augmentation (mosaic and the rest); a quarter of the run at most."""
    mosaic: float = Field(1.0, ge=0, le=1)
    """Probability that several images share one input, each in its own part."""
    mosaic_tiles: Literal[4, 9] = 4
    """Images of a mosaic."""
    copy_paste: float = Field(0.0, ge=0, le=1)
    """Probability that objects of another image are pasted, as boxes, where they hide little."""
    mixup: float = Field(0.0, ge=0, le=1)
    """Probability that two inputs are blended, about half and half; the boxes of both are kept."""
    zoom_out: float = Field(0.0, ge=0, le=1)
    """Probability that an image without mosaic is put somewhere on a black canvas of up to four times its sides."""
    crop: float = Field(0.0, ge=0, le=1)
    """Probability that an image without mosaic is cropped to a part of random overlap with one of its boxes (SSD)."""
    photometric: float = Field(0.0, ge=0, le=1)
    """Probability of each change of brightness, contrast, saturation, hue and channels (SSD)."""

    scale: float = Field(0.5, ge=0, lt=1)
    """Images are zoomed by a random factor in [1 - x, 1 + x]."""
    translate: float = Field(0.1, ge=0, le=1)
    """Images are moved by up to this share of the input, each way."""
    degrees: float = Field(0.0, ge=0, le=180)
    """Inputs are turned by up to this angle, each way."""
    shear: float = Field(0.0, ge=0, le=60)
    """Inputs are sheared along both axes by up to this angle in degrees, each way."""
    perspective: float = Field(0.0, ge=0, le=0.5)
    """Inputs are tilted until depth differs by up to this share from one side to the other, along both axes."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of mirroring left to right."""
    flip_vertical: float = Field(0.0, ge=0, le=1)
    """Probability of mirroring top to bottom."""
    hue: float = Field(0.015, ge=0, le=1)
    """Hue is multiplied by a random factor in [1 - x, 1 + x], round the circle."""
    saturation: float = Field(0.7, ge=0, le=1)
    """Saturation is multiplied by a random factor in [1 - x, 1 + x]."""
    value: float = Field(0.4, ge=0, le=1)
    """Brightness is multiplied by a random factor in [1 - x, 1 + x]."""
    blur: float = Field(0.0, ge=0, le=1)
    """Probability of a mean over 3x3 to 7x7 pixels."""
    grey: float = Field(0.0, ge=0, le=1)
    """Probability that colour is taken away."""
    clahe: float = Field(0.0, ge=0, le=1)
    """Probability of equalising contrast locally (CLAHE)."""
    extra: tuple[Albumentation, ...] = ()
    """Further transforms, applied in order to the picture before its colours are changed; they must keep its size."""

    @property
    def warps(self) -> bool:
        """Whether inputs are turned, sheared or tilted."""
        return max(self.degrees, self.shear, self.perspective) > 0

    @property
    def transforms(self) -> tuple[Albumentation, ...]:
        """What albumentations does: blur, grey and CLAHE where asked for, then ``extra``."""
        named = {"Blur": self.blur, "ToGray": self.grey, "CLAHE": self.clahe}
        own = (Albumentation(name=name, arguments={"p": share}) for name, share in named.items() if share)
        return (*own, *self.extra)

    def strong_epochs(self, epochs: int) -> int:
        """Return how many of ``epochs`` have strong augmentation: all but the last ones."""
        return epochs - min(self.close_mosaic, int(epochs * CLOSING_SHARE))


def detr_augment(**fields: Any) -> Augment:
    """Return the augmentation of RT-DETR, with ``fields`` changed; its inputs are stretched: ``Data(resize="stretch")``.

    Photometric distortion, zoom-out, crop and flip, to the end of the run; for RT-DETRv2, which closes the last epochs, give
    ``close_mosaic``.

    Dense one-to-one matching (DEIM: Huang et al., 2024, arXiv:2412.04234) is more boxes an input, and so more matched queries a
    step: ``detr_augment(mosaic=0.5, mixup=0.5, close_mosaic=12)``. As there, half of the inputs are mosaics of four, which are
    neither zoomed out nor cropped, half are blended with another one, and the last epochs see plain images. Unlike there, both
    run from the first epoch on, and end together with the other strong augmentation: there they begin after four epochs and end
    half-way.
    """
    off = dict.fromkeys(("close_mosaic", "mosaic", "scale", "translate", "hue", "saturation", "value"), 0)
    return Augment(**(off | {"photometric": 0.5, "zoom_out": 0.5, "crop": 0.8} | fields))
