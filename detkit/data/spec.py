"""What an experiment says about its data: where images and boxes are, and the size they are shown at."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from detkit.data.presets import DEFAULT, PRESETS
from detkit.spec import Spec

MULTIPLE = 32
"""Input sizes are multiples of the largest stride."""

SIZE = 640
"""Input pixels where nothing is said."""

Pixels = Annotated[int, Field(ge=MULTIPLE)]


class Data(Spec):
    """A data set in COCO's, YOLO's or Pascal VOC's format: a folder whose layout is found, or files named field by field.

    `detkit.data.coco`, `detkit.data.yolo` and `detkit.data.voc` say where each format's files are looked for.
    """

    home = "detkit.data"

    root: str | None = None
    """Folder of the data set; the other paths are relative to it. None: drawn objects, in data/shapes."""
    size: Pixels | tuple[Pixels, Pixels] | None = None
    """Input pixels, one number or (height, width): multiples of 32. None: 640, or the drawn images' own size."""
    resize: Literal["letterbox", "stretch"] = "letterbox"
    """letterbox keeps the aspect and pads with grey; stretch fills the input."""
    limit: int | None = Field(None, ge=1)
    """Use only the first so many images of each split."""
    workers: int | None = Field(None, ge=0)
    """Processes that load images, for each training process; 0 loads in the process itself. None: one a core, at most 4."""
    cache: Literal["ram", "disk"] | None = None
    """Keep the training images decoded, at about the input size: in memory, or in a folder beside them. None: off."""
    format: Literal["coco", "yolo", "voc"] | None = None
    """Format of the annotations, where a folder holds several. None: what the folder looks like."""
    names: tuple[str, ...] = ()
    """Class names in order, for YOLO and VOC data without data.yaml or classes.txt (VOC: else in alphabetical order)."""
    background: bool = False
    """Train on the image files that no annotation tells of too, as images without objects (YOLO's are so anyhow)."""
    train_images: str | None = None
    """Folder of the training images, where it is not found by itself."""
    train_annotations: str | None = None
    """What says the training boxes, where it is not found by itself: COCO's file, or the folder of YOLO's or VOC's files."""
    train_list: str | None = None
    """Text file with a training image a line, where folders don't tell the splits of YOLO or VOC data apart."""
    val_images: str | None = None
    """Folder of the validation images, where it is not found by itself."""
    val_annotations: str | None = None
    """What says the validation boxes, as for training; may name the same."""
    val_list: str | None = None
    """Text file with a validation image a line."""

    @field_validator("root")
    @classmethod
    def _named(cls, root: str | None) -> str | None:
        if root is not None and not root.strip():
            raise ValueError("is empty (an unset variable?); name the folder of a data set, or leave it out for drawn objects")
        return root

    @field_validator("size")
    @classmethod
    def _multiples(cls, size: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        for pixels in size if isinstance(size, tuple) else (size,) if size else ():
            if pixels % MULTIPLE:
                nearest = max(1, round(pixels / MULTIPLE)) * MULTIPLE
                raise ValueError(f"{pixels} is no multiple of {MULTIPLE}; write {nearest}")
        return size

    @property
    def shape(self) -> tuple[int, int]:
        """Input (height, width)."""
        if isinstance(self.size, tuple):
            return self.size
        drawn = PRESETS.get(self.root or DEFAULT)
        side = self.size or (drawn.size if drawn else SIZE)
        return side, side

    def images(self, split: Literal["train", "val"]) -> str | None:
        """Return what is said about the images of a split."""
        return self.train_images if split == "train" else self.val_images

    def annotations(self, split: Literal["train", "val"]) -> str | None:
        """Return what is said about the boxes of a split."""
        return self.train_annotations if split == "train" else self.val_annotations

    def image_list(self, split: Literal["train", "val"]) -> str | None:
        """Return the list of the images of a split."""
        return self.train_list if split == "train" else self.val_list
