"""Blocks in the branches of a dense head: at the level's width, in the first place, and without harm to weights."""

import json
from pathlib import Path

import pytest
import torch

from detkit.blocks.irmb import IRMB, IRMBBlock
from detkit.heads.branches import ConvBranch, SeparableBranch
from detkit.heads.dense import DenseHead
from detkit.nn.anchors import cell_centres
from detkit.nn.gate import Gated
from detkit.parts import Insert
from detkit.spec import from_dict, to_dict
from detkit.structures import Level
from detkit.weights import load_weights
from detkit.zoo import yolo11, yolov8
from tests.golden.deterministic import fill

KINDS = [ConvBranch, SeparableBranch]
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_run_first_and_add_keys_alone(kind):
    plain, branch = kind().build(24, 16, 10), kind(blocks=(IRMB(), IRMB())).build(24, 16, 10).eval()
    added = set(branch.state_dict()) - set(plain.state_dict())
    assert set(plain.state_dict()) < set(branch.state_dict()) and all(name.startswith("blocks.") for name in added)
    assert [type(block) for block in branch.blocks] == [IRMBBlock] * 2 and branch.blocks[0].project.in_channels == 24
    plain.eval().load_state_dict({name: value for name, value in branch.state_dict().items() if name not in added})
    x = torch.rand(2, 24, 5, 7)
    assert torch.equal(branch(x), plain(branch.blocks[1](branch.blocks[0](x))))


@pytest.mark.parametrize("kind", KINDS)
def test_an_insert_is_gated_and_starts_as_nothing(kind):
    spec = kind(blocks=(Insert(block=IRMB()),))
    plain, branch = kind().build(24, 16, 10).eval(), spec.build(24, 16, 10).eval()
    plain.load_state_dict(branch.state_dict(), strict=False)
    x = torch.rand(2, 24, 5, 7)
    assert isinstance(branch.blocks[0], Gated) and torch.equal(branch(x), plain(x))
    assert from_dict(DenseHead, json.loads(json.dumps(to_dict(DenseHead(box_branch=spec))))).box_branch == spec


@pytest.mark.parametrize(
    ("name", "family", "class_branch"), [("yolov8n", yolov8, ConvBranch), ("yolo11n", yolo11, SeparableBranch)]
)
def test_published_weights_still_load(name, family, class_branch):
    shapes = json.loads((GOLDEN / f"{name}.json").read_text())["state"]
    state = {key: torch.tensor(fill(key, tuple(shape))) for key, shape in shapes.items()}
    blocks = (Insert(block=IRMB()),)
    detector = family("n", box_branch=ConvBranch(blocks=blocks), class_branch=class_branch(blocks=blocks)).build(80).eval()
    report = load_weights(detector, state)
    assert not report.reshaped and not report.unexpected and report.initial
    assert all(".blocks.0." in name and name.startswith("head.") for name in report.initial)
    plain = family("n").build(80).eval()
    load_weights(plain, state)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        assert torch.equal(detector(images).boxes, plain(images).boxes)


def test_cell_centres_are_made_once_for_a_size():
    head = DenseHead().build([Level(8, 8), Level(16, 16)], 3).eval()
    sizes = [((4, 6), (2, 3)), ((8, 8), (4, 4)), ((4, 6), (2, 3))]
    maps = [[torch.zeros(1, 8, *fine), torch.zeros(1, 16, *coarse)] for fine, coarse in sizes]
    first, second, third = [head(levels).anchors for levels in maps]
    assert first is third
    assert torch.equal(second, cell_centres(maps[1], (8, 16))[0])
    assert torch.equal(first, cell_centres(maps[0], (8, 16))[0])
    assert head.double()([x.double() for x in maps[0]]).anchors.dtype == torch.float64
