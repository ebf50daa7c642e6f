"""One split of a data set, packed into flat arrays that worker processes share without copying."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detkit.structures import Sample


@dataclass(frozen=True)
class Annotations:
    """Images and boxes of one split; image i owns the boxes ``starts[i]`` to ``starts[i + 1]``.

    Python objects would be copied into every worker bit by bit, as reference counts are written; arrays are not.

    Attributes:
        names: class names by label, the same in every split.
        category_ids: (C,) int64, the annotation file's id of each class; classes that it lacks have ids of their own.
        paths: image files.
        image_ids: (I,) int64, the file's ids.
        sizes: (I, 2) int64, height and width.
        starts: (I + 1,) int64.
        boxes: (N, 4) float64, x, y, width, height as in the file, inside the image.
        labels: (N,) int64.
        crowds: (N,) bool; crowds are evaluated (as regions to ignore), never trained on.
        areas: (N,) float64.
        annotation_ids: (N,) int64, the file's ids.
        upright: boxes are of the pictures as they are shown, turned as their orientation tags say, else as they are stored.
    """

    names: tuple[str, ...]
    category_ids: np.ndarray
    paths: Texts
    image_ids: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowds: np.ndarray
    areas: np.ndarray
    annotation_ids: np.ndarray
    upright: bool = False

    def __len__(self) -> int:
        return len(self.image_ids)

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of an image."""
        height, width = self.sizes[index]
        return int(height), int(width)

    def sample(self, index: int, image: np.ndarray) -> Sample:
        """Return an image, decoded at its own size or less, with its boxes; crowds are left out."""
        height, width = self.size(index)
        scale = (image.shape[1] / width, image.shape[0] / height)
        mine = slice(self.starts[index], self.starts[index + 1])
        corners = self._corners(mine) * (scale + scale)
        sample = Sample(
            image, corners.astype(np.float32), self.labels[mine], int(self.image_ids[index]), (height, width), scale
        )
        return sample.select(~self.crowds[mine])

    def corners(self, index: int) -> np.ndarray:
        """Return the boxes (N, 4) of an image, xyxy in its own pixels; crowds are left out."""
        mine = slice(self.starts[index], self.starts[index + 1])
        return self._corners(mine)[~self.crowds[mine]]

    @property
    def owners(self) -> np.ndarray:
        """(N,) int64, which image each box is of."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def regroup(self, images: Sequence[int] | np.ndarray, owners: np.ndarray) -> Annotations:
        """Return some of the images, in this order, with the boxes that they now own.

        Args:
            images: which ones; each once.
            owners: (N,) which image each box is of, now; what is of none of ``images``, or of -1, is left out.
        """
        place = np.full(len(self) + 1, -1)
        place[images] = np.arange(len(images))
        rows = place[owners]
        kept = np.flatnonzero(rows >= 0)
        kept = kept[np.argsort(rows[kept], kind="stable")]
        return replace(
            self,
            paths=Texts([self.paths[int(i)] for i in images]),
            image_ids=self.image_ids[images],
            sizes=self.sizes[images],
            starts=np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(rows[kept], minlength=len(images)))]),
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            crowds=self.crowds[kept],
            areas=self.areas[kept],
            annotation_ids=self.annotation_ids[kept],
        )

    def _corners(self, rows: slice) -> np.ndarray:
        boxes = self.boxes[rows]
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)

    def to_coco(self) -> dict[str, Any]:
        """Return the split as a plain COCO dictionary: mended boxes under the file's own ids, crowds included.

        Annotation ids are the file's where they are distinct and positive; pycocotools takes a match with annotation 0 for
        no match.
        """
        ids = self.annotation_ids
        if len(np.unique(ids)) < len(ids) or (ids < 1).any():
            ids = np.arange(1, len(ids) + 1)
        owner = np.repeat(self.image_ids, np.diff(self.starts))
        columns = zip(
            ids.tolist(),
            owner.tolist(),
            self.category_ids[self.labels].tolist(),
            self.boxes.tolist(),
            self.areas.tolist(),
            self.crowds.astype(int).tolist(),
            strict=True,
        )
        keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
        images = zip(self.image_ids.tolist(), self.sizes.tolist(), self.paths, strict=True)
        return {
            "images": [{"id": i, "height": h, "width": w, "file_name": path} for i, (h, w), path in images],
            "categories": [{"id": i, "name": name} for i, name in zip(self.category_ids.tolist(), self.names, strict=True)],
            "annotations": [dict(zip(keys, row, strict=True)) for row in columns],
        }


class Texts(Sequence[str]):
    """Immutable strings in one flat array; file names that are no UTF-8 are as Python gives them."""

    def __init__(self, texts: Sequence[str]) -> None:
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        position = range(len(self))[index]  # turns negative positions, refuses what is out of range
        return self._bytes[self._ends[position] : self._ends[position + 1]].tobytes().decode("utf-8", "surrogateescape")
