import numpy as np
import pytest
import torch

from detkit.data.rescale import random_shape, rescale
from detkit.structures import Batch, Geometry, Targets


def batch():
    images = torch.zeros(1, 3, 64, 96, dtype=torch.uint8)
    images[:, :, 16:32, 24:72] = 255
    boxes = torch.tensor([[24.0, 16.0, 72.0, 32.0]])
    return Batch(
        images,
        Targets.pack([boxes], [torch.tensor([1])]),
        Geometry(torch.tensor([[2.0, 2.0]]), torch.tensor([[4.0, 8.0]]), torch.tensor([[24, 44]])),
        torch.tensor([7]),
        torch.tensor([True]),
    )


def test_boxes_geometry_and_image_stay_together():
    before, after = batch(), rescale(batch(), (128, 96))
    assert after.images.shape == (1, 3, 128, 96)
    assert after.images.min() == 0
    assert after.images.max() == 1
    bright = (after.images[0, 0] > 0.5).nonzero()
    y1, x1 = bright.min(0).values.tolist()
    y2, x2 = (bright.max(0).values + 1).tolist()
    assert after.targets.boxes[0, 0].tolist() == [x1, y1, x2, y2] == [24, 32, 72, 64]
    original = before.geometry.to_original(before.targets.boxes[0, :1], 0)
    torch.testing.assert_close(after.geometry.to_original(after.targets.boxes[0, :1], 0), original)
    assert torch.equal(after.targets.counts, before.targets.counts)


def test_the_same_size_changes_nothing():
    assert rescale(batch(), (64, 96)).images.dtype == torch.uint8


def test_sizes_are_multiples_of_the_stride_within_the_range_and_follow_the_key():
    shapes = [random_shape((320, 640), 0.5, 32, (0, 1, i)) for i in range(200)]
    assert shapes == [random_shape((320, 640), 0.5, 32, (0, 1, i)) for i in range(200)]
    assert all(side % 32 == 0 for shape in shapes for side in shape)
    heights, widths = np.array(shapes).T
    assert (heights.min(), heights.max()) == (160, 480)
    assert (widths.min(), widths.max()) == (320, 960)
    assert random_shape((32, 32), 0.9, 32, (0, 0, 0)) == (32, 32)


@pytest.mark.parametrize("key", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_seed_epoch_and_batch_all_count(key):
    assert random_shape((6400, 6400), 0.5, 1, key) != random_shape((6400, 6400), 0.5, 1, (0, 0, 0))
