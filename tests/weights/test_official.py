"""Tables of the authors' names compose along the tree of modules."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from detkit.backbones.emo import EMO
from detkit.blocks.mobivari import MobiVariBlock
from detkit.errors import UserError
from detkit.weights import load_weights
from detkit.weights.official import recognises, rename
from detkit.zoo import yolov8


class Host(nn.Module):
    official = {"layers.first": "units.one", "mask": None, "dw_conv": "tail"}

    def __init__(self) -> None:
        super().__init__()
        self.units = nn.ModuleDict({"one": MobiVariBlock(4)})
        self.tail = nn.Sequential(MobiVariBlock(4), nn.BatchNorm2d(4))


def test_tables_compose_and_what_they_leave_out_is_named_alike():
    names = ["layers.first.dw_conv.weight", "dw_conv.0.pw_conv.bias", "dw_conv.1.weight", "mask", "other.dw_conv"]
    assert rename(Host(), names) == {
        "layers.first.dw_conv.weight": "units.one.depthwise.weight",
        "dw_conv.0.pw_conv.bias": "tail.0.pointwise.bias",
        "dw_conv.1.weight": "tail.1.weight",
        "other.dw_conv": "other.dw_conv",
    }


def test_a_part_deep_inside_is_enough():
    assert recognises(nn.Sequential(nn.Sequential(MobiVariBlock(4))))
    assert not recognises(nn.Sequential(nn.Linear(1, 1)))


@pytest.mark.parametrize("source", ["official", "auto"])
def test_strict_loading_knows_what_is_no_tensor_of_ours_and_what_is_missing(source):
    state = {"layers.first.dw_conv.bias": torch.ones(4), "mask": torch.ones(1), "dw_conv.1.bias": torch.ones(4)}
    host = Host()
    report = load_weights(host, state, source=source)
    assert set(report.loaded) == {"units.one.depthwise.bias", "tail.1.bias"} and not report.unexpected
    assert torch.equal(host.units["one"].depthwise.bias, torch.ones(4))
    with pytest.raises(UserError, match="missing"):
        load_weights(host, state, source=source, strict=True)


def test_our_own_names_win_where_both_match():
    host = Host()
    report = load_weights(host, host.state_dict(), strict=True)
    assert report.share == 1


@pytest.mark.parametrize("source", ["official", "auto"])
def test_a_backbones_weights_load_into_a_detector(source):
    """As ``init=`` does with the authors' classifiers."""
    record = json.loads((Path(__file__).parents[1] / "golden" / "emo_1m.json").read_text())
    state = {name: torch.full(shape, 0.5) for name, shape in record["state"].items()}
    detector = yolov8("n", backbone=EMO(size="1m")).build(80)
    report = load_weights(detector, state, source=source)
    assert report.parts["backbone"].initial == 0 and not report.reshaped
    assert set(report.unexpected) == {"norm.norm.weight", "norm.norm.bias", "head.weight", "head.bias"}
    assert (detector.backbone.stages[3].blocks[2].mixer.query_key.weight == 0.5).all()
