"""Detectors without weights are the same as others, but for the weights."""

import pytest
import torch
from torch import nn

from detkit.nn.weightless import weightless
from detkit.parts import BlockSpec
from detkit.zoo import yolov8
from tests.train.tiny import tiny_model, tiny_rtdetr


class NormallyDrawn(BlockSpec):
    """Draws as it is built, in both of torch's ways."""

    def build(self, channels):
        block = nn.Conv2d(channels, channels, 1)
        nn.init.normal_(block.weight, std=0.1)
        nn.init.normal_(tensor=block.weight)
        assert block.bias.data.normal_(0, 0.1).shape == (channels,)
        return block


class TensorReading(BlockSpec):
    def build(self, channels):
        return nn.Dropout(float(torch.rand(())))


@pytest.mark.parametrize(
    "model", [tiny_model(), tiny_rtdetr(), yolov8("n", after={"c5": NormallyDrawn()})], ids=["yolo", "rtdetr", "drawing"]
)
def test_everything_but_the_values_is_there(model):
    found, expected = weightless(model, 3), model.build(3)
    assert [(name, value.shape, value.dtype) for name, value in found.state_dict().items()] == [
        (name, value.shape, value.dtype) for name, value in expected.state_dict().items()
    ]
    assert all(value.is_meta for value in found.parameters())


def test_a_part_that_reads_tensors_is_built_with_weights_and_moves_no_stream():
    before = torch.get_rng_state()
    model = weightless(yolov8("n", after={"c5": TensorReading()}), 3)
    assert not any(value.is_meta for value in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)
