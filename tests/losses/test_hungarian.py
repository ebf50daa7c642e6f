"""Matching: the golden file, brute force, edges, one transfer."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from detkit.boxes import normalise, to_cxcywh
from detkit.losses.hungarian import FORBIDDEN, Hungarian, assign
from detkit.structures import Targets
from tests.losses.queries import SIZE, box_targets, leaves, query_output

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rtdetr_criterion.json").read_text())


def scene(counts, **sizes):
    """Return layers of scores and boxes, and targets cxcywh, normalised."""
    raw, targets = query_output(counts, **sizes), box_targets(counts)
    return raw.scores.detach(), raw.boxes.detach(), normalised(targets)


def normalised(targets):
    return targets._replace(boxes=to_cxcywh(normalise(targets.boxes, SIZE)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_reference(dtype):
    rng = np.random.default_rng(11)
    scores = torch.tensor(rng.normal(-2, 1.5, (1, 2, 300, 80)), dtype=dtype)
    boxes = torch.tensor(1 / (1 + np.exp(-rng.normal(size=(1, 2, 300, 4)))), dtype=dtype)
    truth = [torch.tensor(image["boxes_cxcywh"]) for image in GOLDEN["targets"]]
    targets = Targets.pack(truth, [torch.tensor(image["labels"]) for image in GOLDEN["targets"]])
    for found, (queries, order) in zip(Hungarian().build()(scores, boxes, targets)[0], GOLDEN["matched"], strict=True):
        assert found[order].tolist() == queries
        assert (found[len(queries) :] == -1).all()


def test_no_other_pairing_costs_less():
    scores, boxes, targets = scene([3, 1], queries=5)
    module = Hungarian().build()
    costs, matches = module.costs(scores, boxes, targets), module(scores, boxes, targets)
    for layer, image in itertools.product(range(3), range(2)):
        count = targets.counts[image]
        table, found = costs[layer, image, :count], matches[layer, image, :count]
        every = [
            sum(row[q] for row, q in zip(table, pick, strict=True)) for pick in itertools.permutations(range(5), int(count))
        ]
        assert sum(row[q] for row, q in zip(table, found, strict=True)) == pytest.approx(min(every).item())


@pytest.mark.parametrize("field", ["class_cost", "l1_cost", "giou_cost"])
def test_weights_are_used(field):
    scores, boxes, targets = scene([3, 2])
    nothing = {"class_cost": 0.0, "l1_cost": 0.0, "giou_cost": 0.0}
    one, three = (Hungarian(**(nothing | {field: weight})).build().costs(scores, boxes, targets) for weight in (1.0, 3.0))
    assert one.abs().max() > 0
    assert torch.allclose(3 * one, three)


def test_more_boxes_than_queries_match_every_query_once():
    scores, boxes, targets = scene([20, 3], queries=6)
    matches = Hungarian().build()(scores, boxes, targets)
    for layer in matches:
        assert sorted(layer[0][layer[0] >= 0].tolist()) == list(range(6))
        assert (layer[1, :3] >= 0).all()
        assert (layer[1, 3:] == -1).all()


def test_no_boxes_match_nothing():
    scores, boxes, targets = scene([0, 0])
    assert (Hungarian().build()(scores, boxes, targets) == -1).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_matched_last(value):
    scores, boxes, targets = scene([3, 2], queries=6)
    boxes[0, 0, :3], scores[1, 1, 2] = value, float("nan")
    matches = Hungarian().build()(scores, boxes, targets)
    assert sorted(matches[0, 0, :3].tolist()) == [3, 4, 5]
    assert 2 not in matches[1, 1]
    boxes[:] = value
    assert (Hungarian().build()(scores, boxes, targets)[:, 0, :3] >= 0).all()
    assert Hungarian().build().costs(*scene([3, 2])).abs().max() < FORBIDDEN


def test_half_precision_is_lifted():
    scores, boxes, targets = scene([3, 9])
    half = scores.bfloat16(), boxes.bfloat16()
    assert Hungarian().build()(*half, targets).equal(Hungarian().build()(*(values.float() for values in half), targets))


def test_the_operator_is_sound():
    torch.library.opcheck(
        assign, (torch.rand(2, 3, 4, 6), torch.tensor([4, 0, 2])), test_utils=("test_schema", "test_faketensor")
    )


READERS = ("cpu", "item", "tolist", "__bool__", "__int__", "__float__", "__index__", "nonzero", "__array__")


def test_one_transfer_to_the_host(monkeypatch):
    """The operator is entered once, and reads its tensors once, for all layers and images."""
    scores, boxes, targets = scene([3, 9, 0])
    calls = []

    def counted(name):
        original = getattr(torch.Tensor, name)
        return lambda self, *args, **kwargs: calls.append(name) or original(self, *args, **kwargs)

    module = Hungarian().build()
    for name in READERS:
        monkeypatch.setattr(torch.Tensor, name, counted(name))
    with Operators() as seen:
        module(scores, boxes, targets)
    assert calls == ["cpu"]
    assert seen.names.count("detkit.assign.default") == 1
    assert not {"aten._local_scalar_dense.default", "aten.nonzero.default"} & set(seen.names)


class Operators(TorchDispatchMode):
    """Remembers the names of the operators that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.append(str(operator))
        return operator(*args, **(kwargs or {}))


def test_nothing_takes_a_gradient():
    raw, targets = query_output([2, 3]), normalised(box_targets([2, 3]))
    assert leaves(raw)["boxes"].requires_grad
    assert not Hungarian().build()(raw.scores, raw.boxes, targets).requires_grad
