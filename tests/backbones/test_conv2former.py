"""Conv2Former: published figures, names for every size, output norms, and its place in a YOLO."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.backbones.conv2former import Conv2Former
from detkit.zoo import yolov8
from tests.networks import scrambled

PUBLISHED = [  # parameters of the backbone, and 10^9 multiply-adds of the classifier at 224
    ("n", 13_052_640, 2.332),
    ("t", 24_675_084, 4.362),
    ("s", 48_010_572, 8.710),
    ("b", 87_761_232, 15.893),
    ("l", 196_298_176, 36.041),
]
HIDDEN, CLASSES = 1280, 1000


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("size", "parameters", "macs"), PUBLISHED)
def test_figures_are_the_published_ones(size, parameters, macs):
    """The column counts the classifier's head too, a 1x1 convolution before it pools, and two a value of batch norm."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        backbone = Conv2Former(size=size).build().eval()
        coarsest = backbone(torch.empty(1, 3, 224, 224))[-1]
    assert count(backbone) == parameters
    channels, positions = coarsest.shape[1], coarsest[0, 0].numel()
    head = channels * HIDDEN * positions + HIDDEN * CLASSES
    stem = sum(module.num_features for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))
    norms = 2 * (stem * 112**2 + HIDDEN * positions)
    assert round((counter.get_total_flops() / 2 + head + norms) / 1e9, 3) == macs


def test_total_in_yolov8n():
    with torch.device("meta"):
        detector = yolov8("n", backbone=Conv2Former(size="n")).build(num_classes=80)
    assert count(detector) == 15_351_904 - 16  # there, the fixed values of the distances' bins are parameters


def test_output_norms_are_those_of_the_levels_asked_for():
    backbone = scrambled(Conv2Former(output_norm=True).build([8, 32])).eval()
    assert {name.split(".")[1] for name in backbone.state_dict() if name.startswith("norms.")} == {"c3", "c5"}
    plain = Conv2Former().build([8, 32]).eval()
    assert not plain.load_state_dict(backbone.state_dict(), strict=False).missing_keys
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for norm, x, y in zip(backbone.norms.values(), plain(images), backbone(images), strict=True):
            assert torch.equal(norm(x), y)


def test_blocks_start_near_the_identity():
    """As the authors' do; and inputs of any size reach every level."""
    torch.manual_seed(0)
    stage = Conv2Former().build([4]).eval().stages[0]
    x = torch.rand(1, 64, 5, 3)
    assert 0 < (stage(x) - x).abs().max() < 1e-5
