"""EMO: published figures of every size, and its place in a YOLO."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.backbones.emo import EMO
from detkit.nn.fuse import fuse
from detkit.zoo import yolov8
from tests.networks import scrambled

PUBLISHED = [  # parameters of the backbone, and 10^9 multiply-adds of the classifier at 224
    ("1m", 1_191_832, 0.2608),
    ("2m", 2_176_072, 0.4394),
    ("5m", 4_819_272, 0.9026),
    ("6m", 5_846_856, 0.9608),
]
CLASSES = 1000


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("size", "parameters", "macs"), PUBLISHED)
def test_figures_are_the_published_ones(size, parameters, macs):
    """To the last digit: the column has the classifier too, and counts 2 a value of batch norm, 5 of layer norm.

    No padding at 224; where there is some, the authors' code widens what was filled up too, and this one is cheaper.
    """
    norms = 0

    def add(module, inputs, output):
        nonlocal norms
        norms += (2 if isinstance(module, nn.BatchNorm2d) else 5) * output.numel()

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        backbone = EMO(size=size).build().eval()
        for module in backbone.modules():
            if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                module.register_forward_hook(add)
        coarsest = backbone(torch.empty(1, 3, 224, 224))[-1]
    assert count(backbone) == parameters
    head = coarsest.shape[1] * CLASSES + 5 * coarsest.numel()
    assert round((counter.get_total_flops() / 2 + norms + head) / 1e9, 4) == macs


@pytest.mark.parametrize(("size", "total"), [("1m", 3_170_000), ("5m", 6_898_152 - 16)])
def test_total_in_yolov8n(size, total):
    with torch.device("meta"):
        assert count(yolov8("n", backbone=EMO(size=size)).build(num_classes=80)) == total


def test_fused_equals_and_keeps_no_batch_norm():
    backbone = scrambled(EMO().build()).eval()
    images = torch.rand(1, 3, 70, 97)
    with torch.no_grad():
        expected = backbone(images)
        found = fuse(backbone)(images)
    for x, y in zip(expected, found, strict=True):
        assert (x - y).abs().max() < 1e-4 * x.abs().max()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


def test_a_wider_grid_has_the_same_parameters_and_gives_other_maps():
    backbone, wide = scrambled(EMO().build()).eval(), EMO(window_size=10).build().eval()
    wide.load_state_dict(backbone.state_dict())
    images = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        maps, others = backbone(images), wide(images)
    assert torch.equal(maps[1], others[1]) and not torch.allclose(maps[2], others[2])
