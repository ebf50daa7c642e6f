"""What travels between rooms: samples, batches, targets, predictions, detections.

Boxes that cross rooms are xyxy in pixels. Labels are contiguous from 0; class names travel beside them.
Shape letters: B images, C channels or classes, H and W pixels, N boxes, M padded boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TARGET_MULTIPLE = 16
"""Targets are padded to a multiple of this, so that compiled steps see few shapes."""


class Level(NamedTuple):
    """A fact about a feature map."""

    channels: int
    stride: int

    @property
    def number(self) -> int:
        """The 3 of p3: log2 of the stride. Parameters that belong to one level are named by it."""
        return self.stride.bit_length() - 1


@dataclass(frozen=True)
class Sample:
    """One image and its boxes, before batching (numpy).

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float32 xyxy in pixels of ``image``.
        labels: (N,) int64, contiguous.
        image_id: the annotation file's id.
        size: (height, width) of the original image file.
        scale: (x, y) factors from original to present pixels.
        offset: (x, y) of the original's corner in present pixels: present = original * scale + offset.
        fields: further per-box arrays of length N (masks, keypoints, ...).
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    image_id: int
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    fields: dict[str, np.ndarray] = field(default_factory=dict)

    def select(self, keep: np.ndarray) -> Sample:
        """Return the sample with the boxes that ``keep`` (a mask or indices) names, and all that belongs to them."""
        kept = {name: values[keep] for name, values in self.fields.items()}
        return replace(self, boxes=self.boxes[keep], labels=self.labels[keep], fields=kept)


class Targets(NamedTuple):
    """The boxes of a batch, zero-padded to one length on the host, so that no device is ever asked for a count.

    Attributes:
        boxes: (B, M, 4) xyxy in input pixels.
        labels: (B, M) int64.
        counts: (B,) int64, the number of real boxes of each image.
        fields: further per-box tensors (B, M, ...).
    """

    boxes: Tensor
    labels: Tensor
    counts: Tensor
    fields: dict[str, Tensor] = {}

    @classmethod
    def pack(
        cls,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        fields: Sequence[dict[str, Tensor]] = (),
        multiple: int = TARGET_MULTIPLE,
    ) -> Targets:
        """Pad per-image boxes (N, 4) and labels (N,) to a common multiple of ``multiple``."""
        counts = [len(item) for item in labels]
        length = max(1, -(-max(counts, default=0) // multiple)) * multiple
        names = fields[0] if fields else {}
        packed = {name: _pad([item[name] for item in fields], length) for name in names}
        return cls(_pad([item.reshape(-1, 4) for item in boxes], length), _pad(labels, length), torch.tensor(counts), packed)

    @property
    def mask(self) -> Tensor:
        """(B, M) bool: which entries are boxes."""
        return torch.arange(self.boxes.shape[1], device=self.counts.device) < self.counts[:, None]

    def per_image(self) -> list[tuple[Tensor, Tensor]]:
        """Return (boxes (N, 4), labels (N,)) of each image; reads the counts on the host."""
        return [(self.boxes[i, :n], self.labels[i, :n]) for i, n in enumerate(self.counts.tolist())]


def _pad(items: Sequence[Tensor], length: int) -> Tensor:
    out = items[0].new_zeros((len(items), length, *items[0].shape[1:]))
    for row, item in zip(out, items, strict=True):
        row[: len(item)] = item
    return out


class Geometry(NamedTuple):
    """How to map each input image of a batch back to its original file: present = original * scale + offset.

    Attributes:
        scale: (B, 2) float32, x and y.
        offset: (B, 2) float32 pixels, x and y.
        size: (B, 2) int64, original height and width.
    """

    scale: Tensor
    offset: Tensor
    size: Tensor

    def to_original(self, boxes: Tensor, index: int) -> Tensor:
        """Map boxes (N, 4) of image ``index`` from input to original pixels, clipped to the original image."""
        scale, offset = self.scale[index].to(boxes).repeat(2), self.offset[index].to(boxes).repeat(2)
        limit = self.size[index].to(boxes).flip(0).repeat(2)
        return ((boxes - offset) / scale).clamp(min=torch.zeros_like(limit), max=limit)


class Batch(NamedTuple):
    """What a data loader yields.

    Attributes:
        images: (B, 3, H, W) uint8 RGB.
        targets: boxes in input pixels.
        geometry: the way back to original pixels.
        image_ids: (B,) int64.
        scored: (B,) bool; False for surplus images that only keep processes in step and must not be counted.
    """

    images: Tensor
    targets: Targets
    geometry: Geometry
    image_ids: Tensor
    scored: Tensor


class DenseOutput(NamedTuple):
    """Raw output of an anchor-free dense head: levels in order of stride, each row by row.

    Attributes:
        distances: (B, N, 4, bins) logits of the distances left, top, right, bottom, in strides.
        scores: (B, N, C) class logits.
        anchors: (N, 2) cell centres x, y in input pixels.
        strides: (N,) pixels.
    """

    distances: Tensor
    scores: Tensor
    anchors: Tensor
    strides: Tensor


class Proposals(NamedTuple):
    """What a query decoder starts from: one box and its classes for each of N cells, levels in order of stride, row by row.

    Where only the chosen ones are read, ``boxes`` and ``scores`` may hold these alone, N = Q of them, best first.

    Attributes:
        boxes: (B, N, 4) cxcywh, normalised to the input.
        scores: (B, N, C) class logits.
        anchors: centres x, y of all cells in input pixels, (N, 2).
        chosen: (B, Q) int64, which of ``boxes`` and ``scores`` became queries, best first.
    """

    boxes: Tensor
    scores: Tensor
    anchors: Tensor
    chosen: Tensor


class Denoised(NamedTuple):
    """What a query decoder made of D boxes with noise (denoising training), layer by layer.

    Attributes:
        boxes: (L, B, D, 4) cxcywh, normalised to the input.
        scores: (L, B, D, C) class logits.
        target: (B, D) int64, index of the box that the noise was put on.
        positive: (B, D) bool: little noise, to be denoised; False: much noise, to be refused, or nothing at all.
        share: (B, D) in [0, 1], how much a place counts: 1 / how often the image's boxes are repeated, so that each box counts
            once with little noise and once with much; 0 where an image has no box to fill the place.
    """

    boxes: Tensor
    scores: Tensor
    target: Tensor
    positive: Tensor
    share: Tensor


class QueryOutput(NamedTuple):
    """Raw output of a query decoder, layer by layer.

    Attributes:
        boxes: (L, B, Q, 4) cxcywh, normalised to the input; the last layer is the one to be decoded.
        scores: (L, B, Q, C) class logits.
        size: (height, width) of what the finest map covers, pixels: the input, or a little more where that is no multiple
            of the stride; boxes are shares of it.
        proposals: what the queries started from; None where no targets were given.
        denoised: what became of boxes with noise; None where no targets were given, or denoising is off.
    """

    boxes: Tensor
    scores: Tensor
    size: tuple[int, int]
    proposals: Proposals | None = None
    denoised: Denoised | None = None


class Assignment(NamedTuple):
    """Which dense predictions answer for which boxes: a list of S slots an image, empty where the weight is zero.

    S depends on shapes only, so nothing is read on the host. No prediction fills two slots.

    Attributes:
        prediction: (B, S) int64, index of the prediction, below N.
        target: (B, S) int64, index of the box, below M.
        weight: (B, S) in [0, 1], the class score to learn; weighs the box terms too.
    """

    prediction: Tensor
    target: Tensor
    weight: Tensor


class Predictions(NamedTuple):
    """Dense, decoded, not suppressed.

    Attributes:
        boxes: (B, N, 4) xyxy in input pixels.
        scores: (B, N, C) in [0, 1].
        extras: further per-box tensors (B, N, ...).
    """

    boxes: Tensor
    scores: Tensor
    extras: dict[str, Tensor] = {}


class Detections(NamedTuple):
    """What was found in one image, best first.

    Attributes:
        boxes: (N, 4) xyxy pixels (input, or original where a geometry was given).
        scores: (N,) in [0, 1].
        labels: (N,) int64.
        names: class names by label; empty where unknown.
        extras: further per-box tensors (N, ...).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    names: tuple[str, ...] = ()
    extras: dict[str, Tensor] = {}
