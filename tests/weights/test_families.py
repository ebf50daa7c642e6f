"""Every size of every backbone and detector takes its publisher's state dict whole, recognised by itself."""

import json
from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
import torch

from detkit.backbones.conv2former import Conv2Former
from detkit.backbones.emo import EMO
from detkit.backbones.repvit import RepViT
from detkit.backbones.rmt import RMT
from detkit.parts import BackboneSpec
from detkit.weights import load_weights
from detkit.weights.family import family_of
from detkit.weights.published import COCO, DETECTORS, detector_name
from detkit.weights.ultralytics import rename
from tests.weights import official_names as official
from tests.weights.test_load import CASES as YOLO
from tests.weights.test_load import layer_list
from tests.weights.test_rtdetr_detector import official as official_rtdetr

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES: dict[str, tuple[type[BackboneSpec], Callable, dict, tuple[str, ...], str]] = {
    "rmt": (RMT, official.rmt, official.RMT, ("proj.", "norm.", "head."), "RMT (qhfan)"),
    "repvit": (RepViT, official.repvit, official.REPVIT, ("classifier.",), "RepViT (THU-MIG)"),
    "emo": (EMO, official.emo, official.EMO, ("norm.", "head."), "EMO (zhangzjn)"),
    "conv2former": (Conv2Former, official.conv2former, official.CONV2FORMER, ("head.", "pred."), "Conv2Former (HVision-NKU)"),
}
"""Our spec, the authors' names by size, their sizes, what only a classifier has, the family that is told."""
BACKBONES = [(family, size) for family, row in FAMILIES.items() for size in row[2]]
COUNTED = ("running_mean", "running_var", "num_batches_tracked", "Relpos.angle", "Relpos.decay")
"""End the names of what is no parameter of theirs."""


def empty(shapes):
    """Tensors without memory that can be loaded into others of their kind."""
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ["rmt_t", "repvit_m0_9", "emo_1m", "conv2former_n"])
def test_the_names_of_this_test_are_the_authors(name):
    family, _, size = name.partition("_")
    stored = json.loads((GOLDEN / f"{name}.json").read_text())["state"]
    assert dict(FAMILIES[family][1](size)) == {key: tuple(shape) for key, shape in stored.items()}


@pytest.mark.parametrize(("family", "size"), BACKBONES)
def test_the_authors_backbones_are_loaded_whole(family, size):
    spec, names, sizes, classifier, told = FAMILIES[family]
    shapes = dict(names(size))
    parameters = sum(prod(shape) for name, shape in shapes.items() if not name.endswith(COUNTED))
    assert parameters == sizes[size][-1], "the measured count"
    with torch.device("meta"):
        backbone = spec(size=size).build()
    found = load_weights(backbone, empty(shapes), source="auto")
    assert found.share == 1 and not found.initial and not found.reshaped
    assert all(name.startswith(classifier) for name in found.unexpected)
    assert family_of(empty(shapes)).name == told


@pytest.mark.parametrize(("version", "scale"), YOLO)
def test_yolos_of_every_scale_are_found_and_loaded_whole(version, scale):
    name = f"yolov8{scale}" if version == "v8" else f"yolo11{scale}"
    with torch.device("meta"):
        detector = DETECTORS[name]().build(80)
    own = detector.state_dict()
    table = rename(layer_list(version, scale))
    head = 22 if version == "v8" else 23
    state = {theirs: own[ours] for theirs, ours in table.items()} | empty({f"model.{head}.dfl.conv.weight": (1, 16, 1, 1)})
    assert load_weights(detector, state, strict=True).share == 1
    assert detector_name(state, 80) == name


SLOW = [pytest.param(size, marks=pytest.mark.slow) for size in ("r34", "r50", "r101", "hgnetv2_l", "hgnetv2_x", "hgnetv2_h")]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", ["r18", "r50_m", *SLOW])
def test_rtdetrs_of_every_size_are_found(size, version):
    """That they are loaded whole, test_rtdetr_detector tells."""
    assert detector_name(empty(official_rtdetr(size, version)), 80) == f"rtdetr_{size}"


def test_other_networks_are_no_published_detector():
    with torch.device("meta"):
        own = DETECTORS["yolo11s"]().build(80).state_dict()
    state = {theirs: own[ours] for theirs, ours in rename(layer_list("11", "s")).items()}
    state |= empty({"model.23.dfl.conv.weight": (1, 16, 1, 1)})
    assert detector_name(state, 80) == "yolo11s" and detector_name(state, 3) is None
    assert detector_name({name: tensor for name, tensor in state.items() if name != "model.0.conv.weight"}, 80) is None


def test_cocos_names_are_torchvisions():
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights as Published

    assert tuple(name for name in Published.COCO_V1.meta["categories"] if name not in ("__background__", "N/A")) == COCO
