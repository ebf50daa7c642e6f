"""Parts of another kind whose children sound alike."""

import pytest
import torch
from torch import nn

from detkit.weights import load_weights
from detkit.weights.kinds import strangers
from tests.networks import scrambled, small_yolo


def part(**children):
    """A module with children of its own."""
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def conv():
    return nn.Conv2d(4, 4, 1, bias=False)


def norm():
    return nn.BatchNorm2d(4)


HOLDS = {
    "the same": (part(conv=conv(), norm=norm()), part(conv=conv(), norm=norm()), False),
    "a new child": (part(conv=conv(), norm=norm()), part(conv=conv(), norm=norm(), gate=conv()), False),
    "a child less": (part(conv=conv(), norm=norm()), part(norm=norm()), False),
    "another kind": (part(conv=conv(), norm=norm()), part(norm=norm(), expand=conv()), True),
    "other entries": (nn.ModuleDict({"a": conv(), "norm": norm()}), nn.ModuleDict({"norm": norm(), "b": conv()}), False),
}


@pytest.mark.parametrize("case", HOLDS)
def test_a_kind_is_another_where_each_has_what_the_other_lacks(case):
    old, new, another = HOLDS[case]
    before, after = nn.ModuleDict({"unit": old}), nn.ModuleDict({"unit": new})
    found = strangers(after, after.state_dict(), before.state_dict())
    assert found == ({name for name in after.state_dict() if ".norm." in name} if another else set())
    report = load_weights(after, scrambled(before).state_dict())
    assert ("unit.norm.running_mean" in report.loaded) != another
    assert ("unit.norm.running_mean" in report.initial) == ("unit.norm.running_mean" in report.unexpected) == another


def test_what_a_detector_is_made_of_keeps_its_roles():
    state = scrambled(small_yolo().build(3)).state_dict()
    state["neck.other.weight"] = torch.zeros(1)
    state["other.weight"] = torch.zeros(1)
    detector = small_yolo().build(3)
    detector.neck.add_module("extra", conv())
    detector.add_module("extra", conv())
    report = load_weights(detector, state)
    assert set(report.initial) == {"neck.extra.weight", "extra.weight"}
    assert set(report.unexpected) == {"neck.other.weight", "other.weight"}
