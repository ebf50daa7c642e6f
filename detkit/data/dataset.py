"""Samples by number: what each worker process computes.

A training sample is a pure function of (seed, epoch, position), where the position is the sample's place in the epoch's order:
which worker or process makes it, and what it made before, changes nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from detkit.data.annotations import Annotations
from detkit.data.augment import Augment
from detkit.data.collage import base_scale, four_tiles, join, one_tile, place
from detkit.data.extra import Extra
from detkit.data.images import load_annotated, reduction_for
from detkit.data.pixels import flip, shift_colour
from detkit.data.resize import GREY, fit
from detkit.data.spec import Data
from detkit.structures import Sample

BLOCK = 16
"""A mosaic's partners come from its own block of the shuffled order, so that a worker that makes a batch decodes each image
once and shows it in four pictures (repeated augmentation: Hoffer et al., 2020, arXiv:1901.09335)."""
CACHE_BYTES = 64 * 2**20
"""Of decoded images that a worker keeps; holds a block at any usual size."""


class EvalDataset:
    """The images of a split as they are, resized to the input; indices go round."""

    def __init__(self, annotations: Annotations, data: Data) -> None:
        self.annotations, self.data = annotations, data

    def __getitem__(self, index: int) -> Sample:
        index %= len(self.annotations)
        image = load_annotated(self.annotations.paths[index], self.annotations.size(index))
        return fit(self.annotations.sample(index, image), self.data.shape, self.data.resize)


class Address(NamedTuple):
    """Names one training sample: its epoch, and its place in that epoch's order."""

    epoch: int
    position: int


class TrainDataset:
    """Augmented samples of a split, by `Address`.

    Args:
        annotations: the split.
        data: input size and way of resizing.
        augment: what to do to the images.
        epochs: length of the run; the last epochs have no mosaic.
        seed: of order and augmentation.
    """

    def __init__(self, annotations: Annotations, data: Data, augment: Augment, epochs: int, seed: int) -> None:
        self.annotations, self.data, self.augment = annotations, data, augment
        self.mosaic_epochs = augment.mosaic_epochs(epochs)
        self.seed = seed
        self._extra = Extra(augment.extra)
        self._images = ImageCache(annotations)
        self._order = Order(-1, np.zeros(0, np.int64))

    def order(self, epoch: int) -> np.ndarray:
        """Return the shuffled image indices of an epoch."""
        if self._order.epoch != epoch:
            shuffled = np.random.default_rng([self.seed, epoch]).permutation(len(self.annotations))
            self._order = Order(epoch, shuffled)
        return self._order.indices

    def __getitem__(self, address: Address) -> Sample:
        epoch, position = address
        rng = np.random.default_rng([self.seed, epoch, position + 1])  # 0 is the stream of the order
        order, augment = self.order(epoch), self.augment
        places = [position]
        if epoch < self.mosaic_epochs and rng.random() < augment.mosaic:
            places += _partners(position, len(order), rng)
        sample = self._collage([int(order[place % len(order)]) for place in places], rng)
        if rng.random() < augment.flip:
            sample = flip(sample)
        sample = self._extra(sample, rng)
        gains = np.array([augment.hue, augment.saturation, augment.value])
        if gains.any():
            shift_colour(sample.image, 1 + gains * rng.uniform(-1, 1, 3))
        return sample

    def _collage(self, indices: list[int], rng: np.random.Generator) -> Sample:
        """Return one image, or four that meet at a point, zoomed and shifted at random.

        The point is drawn as if the four lay on a canvas of twice the size, around its middle half, seen through a window that
        is zoomed and shifted like a single image: the distribution of the published mosaic.
        """
        shape, augment = self.data.shape, self.augment
        extent = np.array([shape[1], shape[0]])
        zoom = 1 + augment.scale * rng.uniform(-1, 1)
        centre = extent * (0.5 + augment.translate * rng.uniform(-1, 1, 2))
        sizes = [self.annotations.size(index) for index in indices]
        scales = [zoom * base_scale(size, shape, self.data.resize) for size in sizes]
        if len(indices) == 1:
            tiles = [one_tile(sizes[0], scales[0], centre, shape)]
        else:
            tiles = four_tiles(sizes, scales, centre + zoom * extent * rng.uniform(-0.5, 0.5, 2), shape)
        canvas = np.full((*shape, 3), GREY, np.uint8)
        placed = []
        for index, size, tile in zip(indices, sizes, tiles, strict=True):
            seen = tile.seen(size)
            if seen is not None:
                image = self._images.get(index, reduction_for(tile.scale.max()))
                placed.append(place(canvas, self.annotations.sample(index, image), tile, seen))
        return join(canvas, placed, int(self.annotations.image_ids[indices[0]]))


def _partners(position: int, images: int, rng: np.random.Generator) -> list[int]:
    """Return three other places of the position's block, showing three other images wherever there are four."""
    block = max(4, min(BLOCK, images))
    within = position % block
    return [position - within + (within + int(step)) % block for step in 1 + rng.permutation(block - 1)[:3]]


class Order(NamedTuple):
    """The order of an epoch, kept so that it is shuffled once."""

    epoch: int
    indices: np.ndarray


class ImageCache:
    """The most recently used decoded images of a split, up to `CACHE_BYTES`."""

    def __init__(self, annotations: Annotations) -> None:
        self._annotations = annotations
        self._images: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()
        self._bytes = 0

    def get(self, index: int, reduction: int) -> np.ndarray:
        """Return an image decoded at 1 / ``reduction`` of its size; not to be written to."""
        key = (index, reduction)
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        image = load_annotated(self._annotations.paths[index], self._annotations.size(index), reduction)
        self._images[key] = image
        self._bytes += image.nbytes
        while self._bytes > CACHE_BYTES and len(self._images) > 1:
            self._bytes -= self._images.popitem(last=False)[1].nbytes
        return image
