"""RMT: published figures of all sizes, names, what its stages share, and its place in detectors."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.backbones.rmt import RMT, SIZES
from detkit.nn.norm import ChannelNorm
from detkit.weights import load_weights
from detkit.zoo import rtdetr, yolo11, yolov8

PUBLISHED = [  # parameters, with output norms, 10^9 multiply-adds of the whole classifier at 224
    ("t", 12_781_856, 12_783_776, 2.637),
    ("s", 25_414_880, 25_416_800, 4.777),
    ("b", 52_602_536, 52_604_680, 10.373),
    ("l", 93_781_432, 93_784_280, 19.488),
]
SCALED = {"t": set(), "s": set(), "b": {"2", "3"}, "l": {"2", "3"}}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("size", "parameters", "with_norms", "macs"), PUBLISHED)
def test_figures_are_the_measured_ones(size, parameters, with_norms, macs):
    with torch.device("meta"):
        backbone = RMT(size=size, output_norm=True).build().eval()
        with FlopCounterMode(display=False) as counter:
            maps = backbone(torch.empty(1, 3, 224, 224))
    assert count(backbone) == with_norms and count(backbone) - count(backbone.norms) == parameters
    assert [x.shape[1] for x in maps] == [level.channels for level in backbone.out] == list(SIZES[size].widths)
    classifier = 49 * maps[-1].shape[1] * 1024 + 1024 * 1000
    assert round((counter.get_total_flops() / 2 + classifier) / 1e9, 3) == macs


@pytest.mark.parametrize("size", SIZES)
def test_stages_differ_as_published(size):
    with torch.device("meta"):
        backbone = RMT(size=size).build()
    whole = {"t": 2}.get(size, 3)
    for index, stage in enumerate(backbone.stages):
        shared = {id(block.operator.manhattan) for block in stage.blocks}
        manhattan = stage.blocks[0].operator.manhattan
        assert len(shared) == 1 and manhattan.decomposed == (index < whole)
        assert manhattan.heads * manhattan.width == SIZES[size].widths[index]
    scales = {name: parameter for name, parameter in backbone.named_parameters() if name.endswith("_scale")}
    assert {name.split(".")[1] for name in scales} == SCALED[size]
    assert all(parameter.shape[:3] == (1, 1, 1) for parameter in scales.values())


def test_authors_initial_weights():
    backbone = RMT(size="b").build([8, 16])
    block = backbone.stages[2].blocks[3]
    for layer in (block.operator.query, block.operator.project, block.feedforward.expand, block.feedforward.reduce):
        assert abs(layer.weight.std() - 0.02) < 0.001 and not layer.bias.any()
    assert (block.operator_scale == 1e-6).all() and block.operator_norm.eps == 1e-6
    assert backbone.stem.fourth.norm.eps == 1e-5 and isinstance(backbone.stem.fourth.activation, nn.Identity)


def test_a_copy_shares_tables_within_its_stages_only():
    backbone = RMT().build([4])
    twin = copy.deepcopy(backbone)
    tables = [[block.operator.manhattan for block in net.stages[0].blocks] for net in (backbone, twin)]
    assert tables[0][0] is tables[0][1] and tables[1][0] is tables[1][1] and tables[0][0] is not tables[1][0]


def test_output_norms_are_the_detection_wrappers():
    plain, normed = RMT().build([8, 32]).eval(), RMT(output_norm=True).build([8, 32]).eval()
    assert list(normed.norms) == ["c3", "c5"] and all(norm.eps == 1e-5 for norm in normed.norms.values())
    normed.load_state_dict(plain.state_dict(), strict=False)
    state = {"extra_norms.1.weight": torch.full((128,), 2.0), "extra_norms.3.bias": torch.ones(512)}
    report = load_weights(normed, state, source="official")
    assert set(report.loaded) == {"norms.c3.weight", "norms.c5.bias"}
    images = torch.rand(1, 3, 40, 70)
    with torch.no_grad():
        bare, found = plain(images), normed(images)
        assert torch.equal(found[0], 2 * ChannelNorm(128)(bare[0]))
        assert torch.equal(found[1], 1 + ChannelNorm(512)(bare[1]))


def test_official_names_of_layer_scale():
    backbone = RMT(size="b").build([4, 8, 16])
    state = {f"layers.2.blocks.7.gamma_{index}": torch.full((1, 1, 1, 320), float(index)) for index in (1, 2)}
    assert set(load_weights(backbone, state, source="official").loaded) == {
        f"stages.2.blocks.7.{half}_scale" for half in ("operator", "feedforward")
    }


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains(dtype):
    backbone = RMT().build([8]).train()
    with torch.autocast("cpu", dtype):
        loss = backbone(torch.rand(2, 3, 32, 32))[0].float().square().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in backbone.parameters())


def test_one_graph_and_export():
    torch.compiler.reset()
    backbone = RMT().build([8]).eval()
    x = torch.rand(1, 3, 32, 48)
    with torch.no_grad():
        expected = backbone(x)[0]
        found = torch.compile(backbone, fullgraph=True, backend="eager")(x)[0]
        exported = torch.export.export(backbone, (x,)).module()(x)[0]
    assert torch.allclose(found, expected, atol=1e-6) and torch.allclose(exported, expected, atol=1e-6)


def test_detectors_take_it():
    with torch.device("meta"):
        trainable = 15_081_120 - 16  # what public code counts, less the weights of its DFL, which never train
        assert count(yolov8("n", backbone=RMT()).build(num_classes=80)) == trainable
        for reference in (yolo11("n", backbone=RMT()), rtdetr("r18", backbone=RMT())):
            detector = reference.build(num_classes=3).eval()
            assert detector(torch.zeros(1, 3, 64, 96)).scores.shape[-1] == 3
