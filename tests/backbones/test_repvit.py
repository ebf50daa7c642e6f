"""RepViT: published figures of every size as trained and as fused, the layers that detectors read, names."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from detkit.backbones.repvit import RepViT
from detkit.nn.fuse import fuse
from detkit.weights import load_weights
from detkit.zoo import yolov8
from tests.networks import scrambled

PUBLISHED = [  # parameters trained, fused; 10^9 multiply-adds of the fused classifier at 224
    ("m0_6", 2_165_652, 2_147_072, 0.385),
    ("m0_9", 4_717_792, 4_682_056, 0.816),
    ("m1_0", 6_403_004, 6_361_312, 1.106),
    ("m1_1", 7_774_864, 7_731_312, 1.337),
    ("m1_5", 13_616_384, 13_536_992, 2.274),
    ("m2_3", 22_404_232, 22_285_792, 4.516),
]
TAPS = {"m0_6": (1, 4, 14, 17), "m0_9": (2, 6, 22, 26), "m1_0": (2, 6, 22, 26)}
TAPS |= {"m1_1": (2, 6, 20, 24), "m1_5": (4, 10, 36, 42), "m2_3": (6, 14, 50, 54)}
TOTALS = {"m0_9": 6_883_792, "m1_0": 8_633_596 - 16, "m1_1": 10_074_128 - 16, "m1_5": 15_915_648 - 16}
CLASSES = 1000


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("size", "trained", "fused", "macs"), PUBLISHED)
def test_figures_are_the_published_ones(size, trained, fused, macs):
    """To the last digit; the column has the classifier's layer too."""
    with torch.device("meta"):
        backbone = RepViT(size=size).build().eval()
        assert count(backbone) == trained
        assert count(fuse(backbone)) == fused
        with FlopCounterMode(display=False) as counter:
            backbone(torch.empty(1, 3, 224, 224))
    classifier = CLASSES * backbone.out[-1].channels
    assert round((counter.get_total_flops() / 2 + classifier) / 1e9, 3) == macs


@pytest.mark.parametrize(("size", "total"), TOTALS.items())
def test_total_in_yolov8n(size, total):
    with torch.device("meta"):
        assert count(yolov8("n", backbone=RepViT(size=size)).build(num_classes=80)) == total


@pytest.mark.parametrize(("size", "taps"), TAPS.items())
def test_levels_are_the_layers_that_the_authors_detectors_read(size, taps):
    with torch.device("meta"):
        backbone = RepViT(size=size).build()
    last = [f"stages.{index}.blocks.{len(stage.blocks) - 1}" for index, stage in enumerate(backbone.stages)]
    assert [backbone.official[f"features.{tap}"] for tap in taps] == last
    assert f"features.{taps[-1] + 1}" not in backbone.official


def test_official_names_fit_a_backbone_that_lacks_levels():
    whole, part = scrambled(RepViT(size="m0_6").build()), RepViT(size="m0_6").build([8])
    theirs = {f"{name}.channel_mixer.m.0.c.weight" for name in whole.official if name.count(".") == 1}
    named = {name: whole.get_submodule(whole.official[name.split(".channel")[0]]) for name in theirs}
    state = {name: module.channel_mixer.expand.conv.weight for name, module in named.items()}
    report = load_weights(part, state, source="official")
    assert len(report.loaded) == 4 and len(report.unexpected) == len(state) - 4
    assert torch.equal(
        part.stages[0].blocks[0].channel_mixer.expand.conv.weight, state["features.1.channel_mixer.m.0.c.weight"]
    )
