import json
from pathlib import Path

import pytest
import torch
from torch import nn

from detkit.backbones.csp import CSPBackbone
from detkit.backbones.presnet import PResNet
from detkit.blocks.psa import PSA
from detkit.errors import UserError
from detkit.necks.pan import PAN
from detkit.parts import BlockSpec
from detkit.weights import load_weights
from detkit.weights.report import Cover, Part
from detkit.weights.ultralytics import rename
from detkit.zoo import yolo11, yolov8
from tests.networks import scrambled, small_yolo

GOLDEN = Path(__file__).parents[1] / "golden"
UNITS = {"v8": {"n": 1, "s": 1, "m": 2, "l": 3, "x": 3}, "11": {"n": 1, "s": 1, "m": 1, "l": 2, "x": 2}}
CASES = [(version, scale) for version in UNITS for scale in "nsmlx"]
LEVELS = ("c3", "c4", "c5", "p3", "p4", "p5")


class Pointwise(BlockSpec):
    def build(self, channels: int) -> nn.Module:
        return nn.Conv2d(channels, channels, 1)


def conv(*prefixes):
    """The tensors of convolution and norm in the publisher's layer lists."""
    tensors = ["conv.weight", *(f"bn.{n}" for n in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"))]
    return [f"{prefix}.{tensor}" for prefix in prefixes for tensor in tensors]


def layer_list(version, scale):
    """Every tensor name of a published detector, as its publisher's documentation lays the layers out."""
    units, nested = UNITS[version][scale], scale in "mlx"
    names = conv("model.0", "model.9.cv1", "model.9.cv2")
    for index, count in enumerate((1, 2, 2, 1) if version == "v8" else (1, 1, 1, 1)):
        layer = 2 * index + 2
        names += conv(f"model.{layer - 1}") + stage(layer, units * count, version == "11" and (nested or index >= 2))
    if version == "11":
        names += conv("model.10.cv1", "model.10.cv2")
        for unit in range(units):
            inner = ("attn.qkv", "attn.proj", "attn.pe", "ffn.0", "ffn.1")
            names += conv(*(f"model.10.m.{unit}.{part}" for part in inner))
    shift = 0 if version == "v8" else 1
    for layer in (12, 15, 18, 21):
        names += stage(layer + shift, units, version == "11" and (nested or layer == 21))
    head = 22 + shift
    names += conv(f"model.{16 + shift}", f"model.{19 + shift}")
    for level in range(3):
        boxes, classes = f"model.{head}.cv2.{level}", f"model.{head}.cv3.{level}"
        steps = ("0", "1") if version == "v8" else ("0.0", "0.1", "1.0", "1.1")
        names += conv(f"{boxes}.0", f"{boxes}.1", *(f"{classes}.{step}" for step in steps))
        names += [f"{branch}.2.{tensor}" for branch in (boxes, classes) for tensor in ("weight", "bias")]
    return [*names, f"model.{head}.dfl.conv.weight"]


def stage(layer, units, nested):
    names = conv(f"model.{layer}.cv1", f"model.{layer}.cv2")
    for unit in (f"model.{layer}.m.{index}" for index in range(units)):
        names += conv(f"{unit}.cv1", f"{unit}.cv2")
        if nested:
            names += conv(f"{unit}.cv3", *(f"{unit}.m.{index}.{part}" for index in range(2) for part in ("cv1", "cv2")))
    return names


def published(version, scale, **slots):
    return (yolov8 if version == "v8" else yolo11)(scale, **slots)


@pytest.mark.parametrize(("version", "name"), [("v8", "yolov8n"), ("11", "yolo11n")])
def test_the_layer_list_of_this_test_is_the_golden_one(version, name):
    assert set(layer_list(version, "n")) == set(json.loads((GOLDEN / f"{name}.json").read_text())["state"])


@pytest.mark.parametrize(("version", "scale"), CASES)
def test_every_name_of_every_scale_has_its_role(version, scale):
    with torch.device("meta"):
        detector = published(version, scale).build(num_classes=80)
    ours = list(rename(layer_list(version, scale)).values())
    assert len(ours) == len(set(ours)) and set(ours) == set(detector.state_dict())


@pytest.fixture(scope="module", params=["v8", "11"])
def foreign(request):
    """Return (version, a detector, its state under the publisher's names)."""
    detector = scrambled(published(request.param, "n").build(num_classes=80))
    own = detector.state_dict()
    state = {theirs: own[ours].clone() for theirs, ours in rename(layer_list(request.param, "n")).items()}
    state |= {layer_list(request.param, "n")[-1]: torch.arange(16.0).reshape(1, 16, 1, 1)}
    return request.param, detector, state


@pytest.mark.parametrize("source", ["ultralytics", "auto"])
def test_a_layer_list_is_loaded_whole(foreign, source):
    version, detector, state = foreign
    other = published(version, "n").build(num_classes=80)
    report = load_weights(other, state, source=source, strict=True)
    assert report.share == 1 and not (report.initial or report.reshaped or report.unexpected)
    assert all(torch.equal(value, detector.state_dict()[name]) for name, value in other.state_dict().items())


def test_inserts_only_add(foreign):
    version, _, state = foreign
    other = published(version, "n", after={level: Pointwise() for level in LEVELS}).build(num_classes=80)
    report = load_weights(other, state)
    counters = sum(name.endswith("num_batches_tracked") for name in state)
    assert len(report.loaded) == len(state) - counters - 1 and not report.unexpected and not report.reshaped
    assert report.found == (len(report.loaded),) * 2
    assert {name.split(".")[1] for name in report.initial} == set(LEVELS)
    assert report.parts["after.c5"] == Part(initial=3, parameters=Cover(0, 256 * 256 + 256 + 256))


def test_a_swap_touches_its_slot(foreign):
    version, _, state = foreign
    other = published(version, "n", unit=PSA()).build(num_classes=80)
    report = load_weights(other, state)
    assert all(name.startswith("backbone.stages.") and ".blocks." in name for name in report.initial)
    assert set(report.parts) <= {"backbone", "top.sppf", "top.c2psa", "neck", "head", "model"}
    assert report.parts["neck"].initial == report.parts["head"].initial == 0


def test_other_classes_reshape_the_class_branches_only(foreign):
    version, _, state = foreign
    other = published(version, "n").build(num_classes=3)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    report = load_weights(other, state)
    assert report.reshaped and all(name.startswith("head.class_branch.") for name in report.reshaped)
    name = "head.class_branch.p3.predict.bias"
    assert report.reshaped[name] == ((3,), (80,)) and torch.equal(other.state_dict()[name], before[name])
    covered = sum(value.numel() for name, value in other.named_parameters() if name not in report.reshaped)
    assert report.share == covered / sum(value.numel() for value in other.parameters()) < 1


def test_own_names_are_taken_as_they_are():
    detector = scrambled(small_yolo().build(3))
    other = small_yolo(top=()).build(3)
    report = load_weights(other, detector.state_dict())
    assert not report.initial and all(name.startswith("top.") for name in report.unexpected)
    assert report.parts["top.sppf"].unexpected == 10


@pytest.mark.parametrize(("source", "target"), [("batch", "frozen"), ("frozen", "batch")])
def test_norms_that_learn_and_frozen_ones_take_one_anothers_weights(source, target):
    state = scrambled(PResNet(width=8, norm=source).build()).state_dict()
    report = load_weights(PResNet(width=8, norm=target).build(), state, strict=True)
    assert not report.initial and not report.unexpected and report.share == 1


def test_the_module_keeps_its_dtype():
    detector, other = scrambled(small_yolo().build(3)), small_yolo().build(3).double()
    load_weights(other, detector.state_dict())
    assert all(parameter.dtype == torch.float64 for parameter in other.parameters())
    assert torch.equal(other.backbone.stem.conv.weight.float(), detector.backbone.stem.conv.weight)


def test_a_p2_layer_list_has_a_level_more():
    neck = PAN(widths=(32, 64, 128, 256), depths=(1,) * 6, stages=(PAN().stages[0],) * 6)
    with torch.device("meta"):
        detector = yolov8("n", neck=neck).build(80)
    ours = set(detector.state_dict())
    table = rename([name for name in layer_list("v8", "n") if name.startswith("model.9")] + p2_tail())
    assert set(table.values()) < ours
    assert {name for name in ours if name.startswith(("neck", "head"))} == {
        n for n in table.values() if n[:4] in ("neck", "head")
    }


def p2_tail():
    """Neck and head of the publisher's p2 variant: layers 12, 15, 18 down to p2, then 19 to 27 up, the head at 28."""
    names = conv("model.19", "model.22", "model.25")
    for layer in (12, 15, 18, 21, 24, 27):
        names += stage(layer, 1, False)
    for branch in (f"model.28.{kind}.{level}" for kind in ("cv2", "cv3") for level in range(4)):
        names += [*conv(f"{branch}.0", f"{branch}.1"), f"{branch}.2.weight", f"{branch}.2.bias"]
    return [*names, "model.28.dfl.conv.weight"]


def test_report_is_a_table():
    report = load_weights(small_yolo(top=()).build(3), small_yolo().build(3).state_dict())
    assert str(report).splitlines()[0].split() == [
        "part", "loaded", "overlapped", "initial", "reshaped", "unexpected", "parameters"
    ]  # fmt: skip
    assert str(report).splitlines()[-1].startswith("100.0% of the parameters loaded, from ")


@pytest.mark.parametrize(
    ("state", "source", "message"),
    [
        (
            {"layer1.weight": torch.zeros(1)},
            "auto",
            "neither detkit's for this YOLODetector nor those of a network that it holds: layer1.weight, ... where it has",
        ),
        ({}, "auto", "none at all"),
        ({"a": torch.zeros(1)}, "ultralytics", "not a layer list"),
        ({"a": torch.zeros(1)}, "rtdetr", "not the names of RT-DETR"),
        ({"a": torch.zeros(1)}, "official", "no name table for source 'official'"),
    ],
)
def test_names_of_nobody_are_sentences(state, source, message):
    with pytest.raises(UserError, match=message):
        load_weights(small_yolo().build(3), state, source=source)


def test_strict_names_what_is_missing():
    state = small_yolo(backbone=CSPBackbone(widths=(8, 16, 16, 32))).build(3).state_dict()
    target = small_yolo(backbone=CSPBackbone(widths=(8, 16, 16, 32))).build(3)
    kept = {name: value for name, value in state.items() if "stem" not in name}
    with pytest.raises(UserError, match=r"5 tensors are missing: backbone\.stem\.conv\.weight"):
        load_weights(target, kept, strict=True)
    with pytest.raises(UserError, match="1 tensors are unexpected: extra"):
        load_weights(target, state | {"extra": torch.zeros(1)}, strict=True)
    with pytest.raises(UserError, match="of another shape"):
        load_weights(target, state | {"backbone.stem.conv.weight": torch.zeros(1)}, strict=True)
