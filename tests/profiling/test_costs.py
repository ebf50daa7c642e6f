"""Costs of whole detectors: by role, in time and memory, in a slot."""

import time

import pytest
import torch
from torch import nn

from detkit.experiment import Experiment
from detkit.parts import BackboneSpec, BlockSpec
from detkit.profiling.costs import Subject, count, products, tree
from detkit.profiling.flops import count_flops
from detkit.profiling.measure import Deployed, in_turn
from detkit.profiling.profile import profile
from detkit.profiling.rank import swaps
from detkit.spec import SpecError
from tests.networks import small_rtdetr, small_yolo

SHAPE = (64, 96)
MODELS = {"yolo": small_yolo(), "rtdetr": small_rtdetr()}


class ReadsWhenBuilt(BlockSpec):
    """Reads a tensor as it is built, which the meta device refuses."""

    def build(self, channels):
        return nn.Dropout(torch.linspace(0, 0.1, 2).tolist()[1])


class Torn(BackboneSpec):
    """Fits no detector."""

    needs: int = 0

    def build(self, levels=None):
        raise RuntimeError("cannot be built\nin any way")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("depth", [1, 2, 9])
def test_the_lines_of_the_tree_add_up(name, depth):
    cost = count(Subject(name, MODELS[name], SHAPE), num_classes=3)
    lines = tree(cost, depth)
    assert lines[0].share == cost.whole
    for role, share, itself in lines:
        below = [line for line in lines if line.role != role and line.role.rpartition(".")[0] == role and not line.itself]
        own = [line.share for line in lines if line.role == role and line.itself]
        if below and not itself:
            assert sum((line.share for line in below), sum(own, type(share)())) == share, role


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_built_and_operations_those_deployed(name):
    cost = count(Subject(name, MODELS[name], SHAPE), num_classes=3)
    detector = MODELS[name].build(num_classes=3)
    assert cost.whole.parameters == cost.trainable == sum(values.numel() for values in detector.parameters())
    assert cost.whole.flops.products == count_flops(detector.fuse(), torch.zeros(1, 3, *SHAPE, dtype=torch.uint8)).products
    assert {role.split(".")[0] for role in cost.roles} >= {"backbone", "neck", "head"}
    frozen = sum(s.parameters for role, s in cost.roles.items() if role.startswith("neck"))
    assert frozen == sum(values.numel() for values in detector.neck.parameters())


def test_a_part_that_reads_tensors_as_it_is_built_is_counted_too():
    plain = count(Subject("plain", small_yolo(), SHAPE), num_classes=3)
    cost = count(Subject("reading", small_yolo(after={"c5": ReadsWhenBuilt()}), SHAPE), num_classes=3)
    assert cost.whole.parameters == plain.whole.parameters + 32  # its gate


def test_memory_is_the_most_that_is_held_at_a_time():
    module = nn.Sequential(nn.Linear(256, 512, bias=False), nn.ReLU(inplace=True), nn.Linear(512, 64, bias=False))
    images = torch.rand(1000, 256)
    weights, held = 4 * (256 * 512 + 512 * 64), 4 * 1000
    assert Deployed(module, images).memory() == weights + held * (256 + 512 + 64)
    freeing = nn.Sequential(*(nn.Identity() if index % 2 else nn.Softmax(-1) for index in range(9)))
    assert Deployed(freeing, images).memory() == held * 256 * 3  # the image, what is read and what is written


def test_detectors_take_turns_after_warming_up():
    calls = []
    first, second = in_turn([lambda: calls.append(0), lambda: (calls.append(1), time.sleep(0.01))], repeats=2)
    assert calls == [0, 1] * 5 and len(first) == len(second) == 2
    assert min(second) > 0.01 > max(first)


def test_profile_measures_what_it_counts_and_notes_what_fails():
    good, bad = Subject("good", small_yolo(), SHAPE), Subject("bad", small_yolo(backbone=Torn()), SHAPE)
    costs, refused = profile([bad, good], 3, torch.device("cpu"), repeats=2, tolerant=True)
    assert [cost.name for cost in costs] == ["good"] and refused == {"bad": "RuntimeError: cannot be built"}
    assert len(costs[0].seconds) == 2 and 0 < costs[0].percentile(50) <= costs[0].percentile(95)
    weights = 4 * costs[0].whole.parameters
    assert 0.9 * weights < costs[0].memory < weights + 2**20
    with pytest.raises(RuntimeError):
        profile([bad], 3)


def test_profiling_leaves_the_random_state_alone():
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    profile([Subject("one", small_yolo(after={"c5": ReadsWhenBuilt()}), SHAPE)], 3, torch.device("cpu"), repeats=1)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "slot", "part"),
    [
        ("yolo", "backbone", "PResNet"),
        ("yolo", "unit", "Bottleneck"),
        ("yolo", "model.neck_unit", "C3k"),
        ("yolo", "after.c5", "MobiVari"),
        ("yolo", "downsample", "ConvDown"),
        ("yolo", "remix", "HRAMi"),
        ("yolo", "backbone.stages.*", "C3k2"),
        ("rtdetr", "intra", "AIFI"),
        ("rtdetr", "neck", "PAN"),
    ],
)
def test_every_part_of_a_slots_family_is_tried(model, slot, part):
    changed, _ = swaps(Experiment(model=MODELS[model]), slot)
    with torch.device("meta"):
        assert changed[part].model.build(num_classes=3)


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        ("backbon", "did you mean 'backbone'"),
        ("backbone.stem", "a value"),
        ("backbone.stem.deeper", "has no 'deeper'"),
    ],
)
def test_a_slot_that_is_none_is_refused(slot, words):
    with pytest.raises(Exception, match=words) as caught:
        swaps(Experiment(model=small_yolo()), slot)
    assert isinstance(caught.value, SpecError) or "--rank" in str(caught.value)


class ReadingBlock(nn.Module):
    def forward(self, x):
        return x * x.mean().item()


class ReadsAsItRuns(BlockSpec):
    def build(self, channels):
        return ReadingBlock()


def test_products_by_module_are_those_of_the_detector_as_it_is_trained():
    found = products(small_yolo(), 3, (64, 96))
    with torch.device("meta"):
        detector = small_yolo().build(3).eval()
        whole = count_flops(detector, torch.zeros(1, 3, 64, 96))
    assert sum(found.values()) == whole.products > 0
    assert found["backbone.stem.conv"] == 2 * 3 * 9 * 8 * 32 * 48


def test_products_of_a_part_that_reads_values_are_counted_by_running_it():
    before = torch.get_rng_state()
    assert products(small_yolo(after={"c5": ReadsAsItRuns()}), 3, (64, 64)) == products(small_yolo(), 3, (64, 64))
    assert torch.equal(torch.get_rng_state(), before)
