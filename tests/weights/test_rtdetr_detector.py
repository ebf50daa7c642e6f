"""Every tensor of every published RT-DETR, v1 and v2, has its place in the whole detector, of its shape."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from detkit.backbones.hgnetv2 import HGNetv2
from detkit.backbones.presnet import PResNet
from detkit.errors import UserError
from detkit.weights import load_weights
from detkit.weights.rtdetr import recognises, rename
from detkit.zoo import rtdetr
from detkit.zoo.rtdetr import SIZES
from tests.necks.plain_hybrid import PlainEncoder
from tests.networks import small_rtdetr, small_yolo
from tests.weights.test_rtdetr_backbone import official_hgnet, official_presnet
from tests.weights.test_rtdetr_encoder import numbered

GOLDEN = Path(__file__).parents[1] / "golden" / "rtdetr_r18vd_6x_coco.json"
ENCODERS = {  # channels of the backbone, width, expansion, feed-forward, layers
    "r18": ((128, 256, 512), 256, 0.5, 1024, 1),
    "r34": ((128, 256, 512), 256, 0.5, 1024, 1),
    "r50": ((512, 1024, 2048), 256, 1.0, 1024, 1),
    "r50_m": ((512, 1024, 2048), 256, 0.5, 1024, 1),
    "r101": ((512, 1024, 2048), 384, 1.0, 2048, 1),
    "hgnetv2_l": ((512, 1024, 2048), 256, 1.0, 1024, 1),
    "hgnetv2_x": ((512, 1024, 2048), 384, 1.0, 2048, 1),
    "hgnetv2_h": ((512, 1024, 2048), 512, 1.0, 2048, 2),
}
DEPTHS = {"r18": 3, "r34": 4}


def pair(name, *weight, bias=None):
    """Yield the names and shapes of a weight and a bias."""
    yield f"{name}.weight", weight
    yield f"{name}.bias", (bias or weight[0],)


def perceptron(name, *widths):
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        yield from pair(f"{name}.layers.{index}", outputs, inputs)


def official_decoder(width, depth, version):
    """Yield the names and shapes that RT-DETR's decoder has, 80 classes; ``width`` is the encoder's."""
    named = version == 2
    for level in range(3):
        yield f"input_proj.{level}.conv.weight", (256, width, 1, 1)
        for name in ("weight", "bias", "running_mean", "running_var"):
            yield f"input_proj.{level}.norm.{name}", (256,)
        yield f"input_proj.{level}.norm.num_batches_tracked", ()
    for layer in range(depth):
        prefix = f"decoder.layers.{layer}"
        yield f"{prefix}.self_attn.in_proj_weight", (768, 256)
        yield f"{prefix}.self_attn.in_proj_bias", (768,)
        yield from pair(f"{prefix}.self_attn.out_proj", 256, 256)
        for name, outputs in (("sampling_offsets", 192), ("attention_weights", 96), ("value_proj", 256), ("output_proj", 256)):
            yield from pair(f"{prefix}.cross_attn.{name}", outputs, 256)
        if named:
            yield f"{prefix}.cross_attn.num_points_scale", (12,)
        yield from pair(f"{prefix}.linear1", 1024, 256)
        yield from pair(f"{prefix}.linear2", 256, 1024)
        for norm in (1, 2, 3):
            yield from pair(f"{prefix}.norm{norm}", 256)
        yield from pair(f"dec_score_head.{layer}", 80, 256)
        yield from perceptron(f"dec_bbox_head.{layer}", 256, 256, 256, 4)
    yield "denoising_class_embed.weight", (81, 256)
    yield from perceptron("query_pos_head", 4, 512, 256)
    yield from pair("enc_output.proj" if named else "enc_output.0", 256, 256)
    yield from pair("enc_output.norm" if named else "enc_output.1", 256)
    yield from pair("enc_score_head", 80, 256)
    yield from perceptron("enc_bbox_head", 256, 256, 256, 4)
    if named:
        yield "anchors", (1, 8400, 4)
        yield "valid_mask", (1, 8400, 1)


def official(size, version):
    """Return the names and shapes of a published checkpoint."""
    kind = size.split("_")
    backbone = official_presnet(int(size[1:].split("_")[0])) if kind[0] != "hgnetv2" else official_hgnet(kind[1])
    frozen = size not in ("r18", "r34")
    state = {f"backbone.{n}": s for n, s in backbone if not (frozen and n.endswith("num_batches_tracked"))}
    with torch.device("meta"):
        encoder = {f"encoder.{n}": tuple(t.shape) for n, t in PlainEncoder(*ENCODERS[size]).state_dict().items()}
    state |= {numbered(name) if version == 1 else name: shape for name, shape in encoder.items()}
    decoder = official_decoder(ENCODERS[size][1], DEPTHS.get(size, 6), version)
    return state | {f"decoder.{name}": shape for name, shape in decoder}


def test_the_list_of_names_is_the_publishers():
    assert official("r18", 1) == {name: tuple(shape) for name, shape in json.loads(GOLDEN.read_text())["state"].items()}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_every_tensor_finds_its_place(size, version):
    with torch.device("meta"):
        detector = rtdetr(size).build(num_classes=80)
        theirs = {name: torch.empty(shape) for name, shape in official(size, version).items()}
    ours = {name: tuple(tensor.shape) for name, tensor in detector.state_dict().items()}
    assert {renamed: tuple(theirs[name].shape) for name, renamed in rename(theirs).items()} == ours
    assert load_weights(detector, theirs, source="auto", strict=True).share == 1


def test_other_classes_reshape_what_counts_classes_only():
    with torch.device("meta"):
        detector = rtdetr("r18").build(num_classes=3)
        theirs = {name: torch.empty(shape) for name, shape in official("r18", 1).items()}
    report = load_weights(detector, theirs)
    counting = ["head.denoising.embedding.weight"]
    for owner in ("head.select.classes", *(f"head.classes.{layer}" for layer in range(3))):
        counting += [f"{owner}.weight", f"{owner}.bias"]
    assert sorted(report.reshaped) == sorted(counting) and not report.initial and not report.unexpected


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [(PResNet(depth=50), dict(official_presnet(50))), (HGNetv2(size="l", norm="frozen"), dict(official_hgnet("l")))],
)
@pytest.mark.parametrize("source", ["rtdetr", "auto"])
def test_a_backbones_own_state_lands_below_the_backbone_or_in_it(spec, shapes, source):
    theirs = {name: torch.zeros(shape) for name, shape in shapes.items()}
    assert load_weights(spec.build(), theirs, source=source, strict=True).share == 1
    for host in (small_rtdetr(backbone=spec), small_yolo(backbone=spec)):
        report = load_weights(host.build(num_classes=3), theirs | {"fc.weight": torch.zeros(1)}, source=source)
        assert not report.reshaped and report.unexpected == ("fc.weight",)
        assert not any(name.startswith("backbone.") for name in report.initial)
        assert {name.split(".")[0] for name in report.loaded} == {"backbone"}


def test_a_backbone_alone_takes_its_part_of_a_whole_detectors_state():
    with torch.device("meta"):
        backbone = PResNet().build()
        theirs = {name: torch.empty(shape) for name, shape in official("r18", 2).items()}
    report = load_weights(backbone, theirs)
    assert report.share == 1 and not report.initial
    assert {name.split(".")[0] for name in report.unexpected} == {"encoder", "decoder"}


def test_only_rtdetr_is_recognised():
    state = official("r18", 2)
    assert recognises(state) and not recognises(small_yolo().build(3).state_dict())
    assert not recognises(small_rtdetr().build(3).state_dict())
    with pytest.raises(UserError, match="not the names of RT-DETR: no 'decoder.enc_score_head.weight'.* no 'conv1.conv1_1"):
        rename([name for name in state if not name.startswith("decoder")])
    with pytest.raises(UserError, match="unexpected: stray"):
        detector = small_rtdetr().build(3)
        load_weights(detector, detector.state_dict() | {"stray": torch.zeros(1)}, strict=True)
