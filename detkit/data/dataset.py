"""Samples by number: what each worker process computes.

A training sample is a pure function of (seed, epoch, position), where the position is the sample's place in the epoch's order:
which worker or process makes it, and what it made before, changes nothing.

Images that cannot be read (deleted or damaged since they were checked) are left out and remembered in ``unreadable``, why by
index, for the caller to empty. In training the next image of the epoch's order that can be read takes the place of each: then a
sample is a function of which files are broken, too. In evaluation a grey picture keeps the place, without boxes, and is not to
be scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detkit.data.annotations import Annotations
from detkit.data.augment import Augment
from detkit.data.blend import mix, paste
from detkit.data.cache import Images
from detkit.data.collage import NINE, Tile, base_scale, four_tiles, join, nine_tiles, one_tile, place, whole
from detkit.data.extra import Extra
from detkit.data.images import ImageError, load_annotated, reduction_for
from detkit.data.pixels import distort, flip, shift_colour
from detkit.data.resize import GREY, fit
from detkit.data.spec import Data
from detkit.data.views import crop, holds_centres, zoom_out, zooms
from detkit.data.warp import border, random_matrix, warp
from detkit.errors import UserError
from detkit.structures import Sample

BLOCK = 16
"""A mosaic's partners come from its own block of the shuffled order, so that a worker that makes a batch decodes each image
once and shows it in four pictures (repeated augmentation: Hoffer et al., 2020, arXiv:1901.09335)."""

MOST_BROKEN = 16
"""Images that one training sample may find broken in a row; more are no accident, but a disk that is gone."""


class EvalDataset:
    """The images of a split as they are, resized to the input; indices go round."""

    def __init__(self, annotations: Annotations, data: Data) -> None:
        self.annotations, self.data = annotations, data
        self.unreadable: dict[int, str] = {}

    def __getitem__(self, index: int) -> Sample:
        index %= len(self.annotations)
        annotations, size = self.annotations, self.annotations.size(index)
        try:
            sample = annotations.sample(index, load_annotated(annotations.paths[index], size, 1, annotations.upright))
        except ImageError as error:
            self.unreadable[index] = str(error)
            sample = annotations.sample(index, np.full((*size, 3), GREY, np.uint8)).select(np.zeros(0, np.int64))
        return fit(sample, self.data.shape, self.data.resize)


class Address(NamedTuple):
    """Names one training sample: its epoch, and its place in that epoch's order."""

    epoch: int
    position: int


class TrainDataset:
    """Augmented samples of a split, by `Address`.

    Args:
        annotations: the split.
        data: input size, way of resizing and cache.
        augment: what to do to the images.
        epochs: length of the run; the last epochs have no strong augmentation.
        seed: of order and augmentation.
    """

    def __init__(self, annotations: Annotations, data: Data, augment: Augment, epochs: int, seed: int) -> None:
        self.annotations, self.data, self.augment = annotations, data, augment
        self.images = Images(annotations, data, zooms(augment))
        self.unreadable: dict[int, str] = {}
        self.strong_epochs = augment.strong_epochs(epochs)
        self.seed = seed
        self._border = border(data.shape, augment)
        self._canvas = (data.shape[0] + 2 * int(self._border[1]), data.shape[1] + 2 * int(self._border[0]))
        self._extra = Extra(augment.transforms)
        self._order = Order(-1, np.zeros(0, np.int64))

    def order(self, epoch: int) -> np.ndarray:
        """Return the shuffled image indices of an epoch."""
        if self._order.epoch != epoch:
            shuffled = np.random.default_rng([self.seed, epoch]).permutation(len(self.annotations))
            self._order = Order(epoch, shuffled)
        return self._order.indices

    def __getitem__(self, address: Address) -> Sample:
        broken: list[int] = []
        while len(broken) < min(MOST_BROKEN, len(self.annotations)):
            try:
                return self._sample(address, without(self.order(address[0]), broken))
            except _Broken as error:
                broken.append(error.index)
                self.unreadable[error.index] = error.reason
        raise UserError(f"{len(broken)} images in a row cannot be read; the last: {self.unreadable[broken[-1]]}")

    def _sample(self, address: Address, order: np.ndarray) -> Sample:
        epoch, position = address
        rng = np.random.default_rng([self.seed, epoch, position + 1])  # 0 is the stream of the order
        augment, strong = self.augment, epoch < self.strong_epochs
        sample = self._input(order, position, rng, strong)
        if strong and _happens(augment.copy_paste, rng):
            [partner] = _partners(position, len(order), rng, 1)
            sample = paste(sample, self._input(order, partner, rng, strong=False), rng)
        if strong and _happens(augment.mixup, rng):
            [partner] = _partners(position, len(order), rng, 1)
            sample = mix(sample, self._input(order, partner, rng, strong), rng)
        if rng.random() < augment.flip:
            sample = flip(sample)
        if _happens(augment.flip_vertical, rng):
            sample = flip(sample, axis=1)
        sample = self._extra(sample, rng)
        if strong and augment.photometric:
            distort(sample.image, rng, augment.photometric)
        gains = np.array([augment.hue, augment.saturation, augment.value])
        if gains.any():
            shift_colour(sample.image, 1 + gains * rng.uniform(-1, 1, 3))
        return sample

    def _input(self, order: np.ndarray, position: int, rng: np.random.Generator, strong: bool) -> Sample:
        """Return one image of the order, or a mosaic that it is the first of, zoomed, shifted and turned at random."""
        shape, augment = self.data.shape, self.augment
        places = [position]
        if strong and rng.random() < augment.mosaic:
            places += _partners(position, len(order), rng, augment.mosaic_tiles - 1)
        indices = [int(order[place % len(order)]) for place in places]
        zoom = 1 + augment.scale * rng.uniform(-1, 1)
        centre = np.array(shape[::-1]) * (0.5 + augment.translate * rng.uniform(-1, 1, 2)) + self._border
        made = (
            self._alone(indices[0], zoom, centre, rng, strong)
            if len(indices) == 1
            else self._mosaic(indices, zoom, centre, rng)
        )
        return warp(made, random_matrix(augment, shape, rng), shape) if augment.warps else made

    def _alone(self, index: int, zoom: float, centre: np.ndarray, rng: np.random.Generator, strong: bool) -> Sample:
        """Return one image, or a view of it, zoomed around ``centre`` of the canvas."""
        view, black = whole(self.annotations.size(index)), False
        if strong and _happens(self.augment.zoom_out, rng):
            view, black = zoom_out(view, rng), True
        if strong and _happens(self.augment.crop, rng):
            view = crop(view, self.annotations.corners(index), rng)
        width, height = view[2:] - view[:2]
        tile = one_tile(view, zoom * base_scale((height, width), self.data.shape, self.data.resize), centre, self._canvas)
        canvas = np.full((*self._canvas, 3), GREY, np.uint8)
        if black:
            left, top, right, bottom = tile.region
            canvas[top:bottom, left:right] = 0
        placed = self._place(canvas, index, tile, holds_centres(view, self.annotations.corners(index)))
        return join(canvas, placed, int(self.annotations.image_ids[index]))

    def _mosaic(self, indices: list[int], zoom: float, centre: np.ndarray, rng: np.random.Generator) -> Sample:
        """Return several images edge to edge.

        Where they meet (nine: the middle of the first) is drawn as if they lay on a canvas of twice the size, around its middle
        half, seen through a window that is zoomed and shifted like a single image: the distribution of the published mosaic.
        """
        shape = self.data.shape
        size = NINE if len(indices) == 9 else 1
        sizes = [self.annotations.size(index) for index in indices]
        scales = [zoom * size * base_scale(photo, shape, self.data.resize) for photo in sizes]
        meeting = centre + zoom * np.array(shape[::-1]) * rng.uniform(-0.5, 0.5, 2)
        tiles = (nine_tiles if len(indices) == 9 else four_tiles)(sizes, scales, meeting, self._canvas)
        canvas = np.full((*self._canvas, 3), GREY, np.uint8)
        placed = [sample for index, tile in zip(indices, tiles, strict=True) for sample in self._place(canvas, index, tile)]
        return join(canvas, placed, int(self.annotations.image_ids[indices[0]]))

    def _place(self, canvas: np.ndarray, index: int, tile: Tile, keep: np.ndarray | None = None) -> list[Sample]:
        """Draw an image into its tile of the canvas; return it with the boxes to ``keep``, or nothing if it isn't seen."""
        seen = tile.seen(self.annotations.size(index))
        if seen is None:
            return []
        try:
            image = self.images.get(index, reduction_for(tile.scale.max()))
        except ImageError as error:
            raise _Broken(index, str(error)) from None
        photo = self.annotations.sample(index, image)
        return [place(canvas, photo if keep is None else photo.select(keep), tile, seen)]


def without(order: np.ndarray, broken: Sequence[int]) -> np.ndarray:
    """Return an epoch's order with each broken image replaced by the next one that is whole."""
    if not broken:
        return order
    kept = np.flatnonzero(~np.isin(order, broken))
    following = np.searchsorted(kept, np.arange(len(order))) % len(kept)
    return order[kept[following]]


class _Broken(Exception):  # noqa: N818 (never leaves this file)
    """An image of a sample cannot be read."""

    def __init__(self, index: int, reason: str) -> None:
        self.index, self.reason = index, reason


def _happens(probability: float, rng: np.random.Generator) -> bool:
    """Say whether an event happens; what is off draws nothing, so that the streams of others stay as they are."""
    return probability > 0 and rng.random() < probability


def _partners(position: int, images: int, rng: np.random.Generator, count: int) -> list[int]:
    """Return other places of the position's block, showing other images wherever there are as many."""
    block = max(count + 1, min(BLOCK, images))
    within = position % block
    return [position - within + (within + int(step)) % block for step in 1 + rng.permutation(block - 1)[:count]]


class Order(NamedTuple):
    """The order of an epoch, kept so that it is shuffled once."""

    epoch: int
    indices: np.ndarray
