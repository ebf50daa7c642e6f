"""Multi-scale training: a whole batch is brought to another size, on the device where it lies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.nn import functional as F

from detkit.structures import Batch


def random_shape(shape: Sequence[int], amount: float, stride: int, key: Sequence[int]) -> tuple[int, int]:
    """Return (height, width) times a random factor in [1 - amount, 1 + amount], to the nearest multiples of ``stride``.

    The factor is a function of ``key`` alone (seed, epoch, batch), so that a resumed run and all processes see the same.
    """
    return _scaled(shape, 1 + amount * np.random.default_rng(key).uniform(-1, 1), stride)


def number_of_shapes(shape: Sequence[int], amount: float, stride: int) -> int:
    """Return how many different shapes `random_shape` may give."""
    return len({_scaled(shape, factor, stride) for factor in np.linspace(1 - amount, 1 + amount, 2001).tolist()})


def _scaled(shape: Sequence[int], factor: float, stride: int) -> tuple[int, int]:
    height, width = (max(1, round(side * factor / stride)) * stride for side in shape)
    return height, width


def rescale(batch: Batch, shape: tuple[int, int]) -> Batch:
    """Return the batch with images of ``shape`` (height, width), floating in [0, 1], and its boxes and geometry to match."""
    height, width = batch.images.shape[-2:]
    if (height, width) == shape:
        return batch
    images = batch.images if batch.images.is_floating_point() else batch.images.float() / 255
    images = F.interpolate(images, size=shape, mode="bilinear", align_corners=False, antialias=False)
    factor = batch.geometry.scale.new_tensor([shape[1] / width, shape[0] / height])
    return batch._replace(
        images=images,
        targets=batch.targets._replace(boxes=batch.targets.boxes * factor.repeat(2)),
        geometry=batch.geometry._replace(scale=batch.geometry.scale * factor, offset=batch.geometry.offset * factor),
    )
