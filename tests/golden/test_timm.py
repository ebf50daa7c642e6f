"""Backbones of every size equal timm's implementation, by timm's names and deterministic weights."""

import pytest
import torch

from detkit.backbones.hgnetv2 import HGNetv2
from detkit.backbones.presnet import PResNet
from detkit.backbones.repvit import RepViT
from detkit.weights import load_weights
from detkit.zoo import yolo11
from tests.golden.deterministic import fill, image

timm = pytest.importorskip("timm")

CASES = {f"repvit_{size}": (RepViT(size=size), 0.9) for size in ("m0_9", "m1_0", "m1_1", "m1_5", "m2_3")}
CASES |= {f"resnet{depth}d": (PResNet(depth=depth), 0.6) for depth in (50, 101)}
CASES |= {f"hgnetv2_b{4 + index}": (HGNetv2(size=size), 1.0) for index, size in enumerate("lxh")}
"""timm's name -> our spec, and a gain that keeps the maps of a deep network in range."""
QUICK = ("repvit_m0_9", "resnet50d", "hgnetv2_b4")
ALL = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


def of_timm(name, **options):
    """Return timm's network with deterministic weights, in evaluation and double precision."""
    network = timm.create_model(name, pretrained=False, **options).double().eval()
    filled = {key: torch.tensor(fill(key, tuple(value.shape), CASES[name][1])) for key, value in network.state_dict().items()}
    network.load_state_dict(filled)
    return network


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_backbone_equals_timms(name):
    network = of_timm(name)
    backbone = CASES[name][0].build().double().eval()
    report = load_weights(backbone, network.state_dict())
    assert report.share == 1 and not report.initial and not report.reshaped
    assert {key.split(".")[0] for key in report.unexpected} <= {"head", "fc"}
    images = torch.tensor(image((1, 3, 96, 64), seed=1))
    expected = network.forward_intermediates(images, indices=4, intermediates_only=True)
    for found, reference in zip(backbone(images), expected[-4:], strict=True):
        assert found.shape == reference.shape and reference.std() > 1e-6
        assert (found - reference).abs().max() < 1e-9 * reference.abs().max()


def test_they_load_into_a_detectors_backbone():
    state = timm.create_model("repvit_m0_9", pretrained=False).state_dict()
    detector = yolo11("n", backbone=RepViT(size="m0_9")).build(80)
    for source in ("auto", "timm"):
        report = load_weights(detector, state, source=source)
        assert report.parts["backbone"].initial == 0 and not report.reshaped
        assert {key.split(".")[0] for key in report.unexpected} == {"head"}
