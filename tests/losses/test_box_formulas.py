"""The box losses by value, against formulas written plainly; wrappers round all of them; WIoU's running mean."""

import copy
import pickle

import pytest
import torch

from detkit import boxes
from detkit.errors import UserError
from detkit.losses.ciou import CIoU
from detkit.losses.detection import DetectionCriterion
from detkit.losses.detr import DETRCriterion
from detkit.losses.diou import DIoU
from detkit.losses.eiou import EIoU
from detkit.losses.focaler_iou import FocalerIoU
from detkit.losses.giou import GIoU
from detkit.losses.inner_iou import InnerIoU
from detkit.losses.mpdiou import MPDIoU
from detkit.losses.shape_iou import ShapeIoU
from detkit.losses.siou import SIoU
from detkit.losses.wiou import WIoU
from detkit.spec import SpecError
from tests.losses import plain_boxes, queries, scenes
from tests.test_boxes import random_boxes

WIDE, HIGH = 640.0, 480.0
SIZE = torch.tensor([WIDE, HIGH], dtype=torch.float64)
PLAIN = [
    (GIoU(), plain_boxes.giou_loss),
    (DIoU(), plain_boxes.diou_loss),
    (CIoU(), plain_boxes.ciou_loss),
    (EIoU(), plain_boxes.eiou_loss),
    (SIoU(), plain_boxes.siou_loss),
    (SIoU(theta=2.5), lambda a, b: plain_boxes.siou_loss(a, b, 2.5)),
    (ShapeIoU(), plain_boxes.shape_iou_loss),
    (ShapeIoU(scale=1.5, theta=3), lambda a, b: plain_boxes.shape_iou_loss(a, b, 1.5, 3)),
    (MPDIoU(), lambda a, b: plain_boxes.mpdiou_loss(a, b, (WIDE, HIGH))),
    (WIoU(version=1), plain_boxes.wiou_loss),
]
every_formula = pytest.mark.parametrize(("spec", "plain"), PLAIN, ids=[str(spec) for spec, _ in PLAIN])
A, B = random_boxes(80, 1), random_boxes(80, 2)
PAIRS = list(zip(A.tolist(), B.tolist(), strict=True))


@every_formula
def test_equals_the_plain_formula(spec, plain):
    found = spec.build()(A, B, None, SIZE)
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([plain(a, b) for a, b in PAIRS], rel=1e-9)


@every_formula
def test_wrappers_replace_the_iou_alone(spec, plain):
    """L + IoU - IoU', as the papers have it; WIoU, which has no sum, takes IoU' in its product."""
    wrapped = {
        InnerIoU(loss=spec, ratio=0.7): lambda a, b: plain_boxes.inner_iou(a, b, 0.7),
        InnerIoU(loss=spec, ratio=1.3): lambda a, b: plain_boxes.inner_iou(a, b, 1.3),
        FocalerIoU(loss=spec, low=0.1, high=0.6): lambda a, b: plain_boxes.focused(plain_boxes.iou(a, b), 0.1, 0.6),
    }
    for wrapper, overlap in wrapped.items():
        expected = [
            plain_boxes.wiou_loss(a, b, overlap)
            if isinstance(spec, WIoU)
            else plain(a, b) + plain_boxes.iou(a, b) - overlap(a, b)
            for a, b in PAIRS
        ]
        assert wrapper.build()(A, B, None, SIZE).tolist() == pytest.approx(expected, rel=1e-9)


def test_wrappers_nest_in_either_order():
    expected = [
        plain_boxes.ciou_loss(a, b) + plain_boxes.iou(a, b) - plain_boxes.focused(plain_boxes.inner_iou(a, b, 0.8), 0.1, 0.7)
        for a, b in PAIRS
    ]
    focaler, inner = {"low": 0.1, "high": 0.7}, {"ratio": 0.8}
    for spec in (FocalerIoU(loss=InnerIoU(**inner), **focaler), InnerIoU(loss=FocalerIoU(**focaler), **inner)):
        assert spec.build()(A, B).tolist() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("version", [2, 3])
def test_wiou_weighs_by_the_running_mean(version):
    loss = WIoU(version=version, steps=10).build().double()
    plain, mean, momentum = [1 - plain_boxes.iou(a, b) for a, b in PAIRS], 1.0, 1 - 0.05**0.1
    for valid in (None, torch.arange(80) % 3 == 0, torch.zeros(80, dtype=torch.bool)):
        counted = [value for index, value in enumerate(plain) if valid is None or valid[index]]
        mean += momentum * (sum(counted) / len(counted) - mean) if counted else 0
        expected = [
            plain_boxes.wiou_weight(value, mean, version) * plain_boxes.wiou_loss(a, b)
            for value, (a, b) in zip(plain, PAIRS, strict=True)
        ]
        assert loss(A, B, valid).tolist() == pytest.approx(expected, rel=1e-9)
        assert loss.mean.value.item() == pytest.approx(mean)
    loss.eval()(A, B)
    assert loss.mean.value.item() == pytest.approx(mean)
    again = WIoU(version=version).build().double().eval()
    again.load_state_dict(loss.state_dict())
    assert torch.equal(again(A, B), loss(A, B))


def test_wiou_mean_loses_its_start_in_so_many_steps():
    loss = WIoU(steps=40).build()
    for _ in range(40):
        loss(B, B)
    assert loss.mean.value.item() == pytest.approx(0.05, rel=1e-4)
    assert loss(B, B).eq(0).all()


def test_wiou_weights_and_the_hull_take_no_gradient():
    for version in (1, 2, 3):
        a, loss = A.clone().requires_grad_(), WIoU(version=version).build().double().eval()
        (found,) = torch.autograd.grad(loss(a, B).sum(), a)
        shared = 1 - boxes.iou(a, B)
        width, height = boxes.hull(A, B)
        exponent = boxes.centre_distance(a, B) / (width.square() + height.square())
        weight = torch.tensor([1.0 if version == 1 else plain_boxes.wiou_weight(x, 1.0, version) for x in shared.tolist()])
        (expected,) = torch.autograd.grad((weight * exponent.exp() * shared).sum(), a)
        assert torch.allclose(found, expected, atol=1e-6 if version > 1 else 1e-12)


def test_siou_counts_an_offset_along_an_axis_more():
    target = torch.tensor([0.0, 0, 100, 100]).double()
    along, across = (target + torch.tensor([x, y, x, y]).double() for x, y in ((200.0, 0.0), (200 / 2**0.5, 200 / 2**0.5)))
    loss = SIoU().build()
    penalty = [(loss(box, target) - 1).item() for box in (along, across)]
    assert penalty[0] == pytest.approx((1 - torch.tensor(-2 * 4 / 9).exp().item()) / 2)  # angle 0
    assert penalty[1] == pytest.approx(1 - torch.tensor(-((2**0.5 / (1 + 2**0.5)) ** 2)).exp().item(), rel=1e-5)  # angle 1


def test_shape_iou_spares_the_long_side_of_the_target():
    wide = torch.tensor([0.0, 0, 100, 20]).double()
    loss = ShapeIoU(scale=1).build()
    assert loss.weights(wide)[0].item() == pytest.approx(2 * 100 / 120)
    beside, below = wide + torch.tensor([30.0, 0, 30, 0]), wide + torch.tensor([0, 30.0, 0, 30])
    assert loss(below, wide) > loss(beside, wide)


def test_an_inner_ratio_above_one_sees_boxes_that_do_not_touch():
    a, b = torch.tensor([0.0, 0, 10, 10], requires_grad=True), torch.tensor([11.0, 0, 21, 10])
    assert boxes.iou(a, b) == 0
    assert boxes.iou(boxes.scaled(a, 1.4), boxes.scaled(b, 1.4)) > 0


def test_wrong_use_is_a_sentence():
    with pytest.raises(UserError, match="size of the image"):
        MPDIoU().build()(A, B)
    with pytest.raises(SpecError, match="below high"):
        FocalerIoU(low=0.6, high=0.5)


@pytest.mark.parametrize("spec", [WIoU(), InnerIoU(loss=WIoU()), FocalerIoU(loss=MPDIoU())], ids=str)
def test_copies_pickles_and_one_graph(spec):
    loss, valid = spec.build(), torch.ones(80, dtype=torch.bool)
    graph = torch.compile(copy.deepcopy(loss), fullgraph=True, backend="aot_eager")
    twin = pickle.loads(pickle.dumps(loss))
    for _ in range(2):
        expected = loss(A, B, valid, SIZE)
        assert torch.equal(twin(A, B, valid, SIZE), expected)
        assert torch.allclose(graph(A, B, valid, SIZE), expected)


@pytest.mark.parametrize("spec", [EIoU(), SIoU(), WIoU(), MPDIoU(), ShapeIoU(), InnerIoU(), FocalerIoU()], ids=str)
def test_serves_both_criteria(spec):
    """In pixels and in shares of the image, with empty slots."""
    raw, targets = scenes.raw_output(2, 3), scenes.random_targets([4, 0], 3)
    losses = DetectionCriterion(box_loss=spec).build(scenes.CLASSES, scenes.STRIDES)(raw, targets)
    losses["box"].backward()
    assert losses["box"] > 0 and raw.distances.grad.isfinite().all() and raw.distances.grad.abs().sum() > 0
    raw, targets = queries.query_output((3, 0)), queries.box_targets((3, 0))
    losses = DETRCriterion(box_loss=spec).build(queries.CLASSES, (8, 16, 32))(raw, targets)
    losses["box"].backward()
    assert losses["box"] > 0 and raw.boxes.grad.isfinite().all() and raw.boxes.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_running_mean_of_wiou_moves_in_half_precision_too(dtype):
    loss, exact = WIoU().build().to(dtype).train(), WIoU().build().train()
    predicted, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[1.0, 0, 11, 10]])
    for _ in range(3):
        found, expected = loss(predicted.to(dtype), target.to(dtype)), exact(predicted, target)
    assert 0.999 < loss.mean.value.item() == exact.mean.value.item() < 1
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
