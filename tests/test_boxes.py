"""Box maths against torchvision, against its own laws, and on boxes without extent."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torchvision import ops

from detkit import boxes
from detkit.boxes import area, ciou, clip, diou, from_distances, giou, iou, pairwise_iou, to_cxcywh, to_distances, to_xyxy

MEASURES = [iou, giou, diou, ciou]

DEGENERATE = [
    ([0, 0, 0, 0], [0, 0, 0, 0]),
    ([5, 5, 5, 5], [0, 0, 10, 10]),
    ([0, 0, 10, 10], [5, 5, 5, 5]),
    ([3, 3, 3, 9], [3, 3, 3, 9]),
    ([3, 3, 3, 9], [0, 0, 8, 12]),
    ([3, 3, 9, 3], [0, 0, 8, 12]),
    ([3, 3, 9, 3], [3, 3, 3, 9]),
    ([9, 9, 1, 1], [0, 0, 4, 4]),
    ([0, 0, 4, 4], [0, 0, 4, 4]),
    ([0, 0, 1, 1], [600, 600, 639, 639]),
    ([-1e4, -1e4, 1e4, 1e4], [0, 0, 1e-3, 1e-3]),
]


def random_boxes(count, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator, dtype=dtype) * 60
    return torch.cat((corner, corner + 2 + torch.rand(count, 2, generator=generator, dtype=dtype) * 60), 1)


box = st.tuples(st.floats(-100, 100), st.floats(-100, 100), st.floats(0.1, 100), st.floats(0.1, 100)).map(
    lambda b: torch.tensor([b[0], b[1], b[0] + b[2], b[1] + b[3]], dtype=torch.float64)
)


def test_normalised_boxes_are_shares_of_the_sides():
    pixels = torch.tensor([[10.0, 20.0, 50.0, 100.0]]).double()
    shares = boxes.normalise(pixels, (200, 100))
    assert shares.tolist() == [[0.1, 0.1, 0.5, 0.5]]
    assert torch.equal(boxes.to_pixels(shares, (200, 100)), pixels)


def test_conversions_known_values():
    corners = torch.tensor([[1.0, 2.0, 5.0, 10.0]])
    assert to_cxcywh(corners).tolist() == [[3, 6, 4, 8]]
    assert to_xyxy(torch.tensor([[3.0, 6.0, 4.0, 8.0]])).tolist() == [[1, 2, 5, 10]]
    point = torch.tensor([[2.0, 4.0]])
    assert to_distances(corners, point).tolist() == [[1, 2, 3, 6]]
    assert from_distances(torch.tensor([[1.0, 2.0, 3.0, 6.0]]), point).tolist() == corners.tolist()
    assert area(corners).tolist() == [32]


def test_conversions_invert_each_other():
    corners, point = random_boxes(50).view(5, 10, 4), torch.rand(10, 2, dtype=torch.float64)
    assert torch.allclose(to_xyxy(to_cxcywh(corners)), corners)
    assert torch.allclose(from_distances(to_distances(corners, point), point), corners)


def test_clip_cuts_x_at_the_width_and_y_at_the_height():
    cut = clip(torch.tensor([[[-5.0, -6.0, 700.0, 800.0], [1.0, 2.0, 3.0, 4.0]]]), (480, 640))
    assert cut.tolist() == [[[0, 0, 640, 480], [1, 2, 3, 4]]]


def test_pairwise_iou_equals_torchvision():
    a, b = random_boxes(30, 1), random_boxes(20, 2)
    assert torch.allclose(pairwise_iou(a, b), ops.box_iou(a, b), atol=1e-12)
    assert pairwise_iou(a.view(2, 15, 4), b.view(2, 10, 4)).shape == (2, 15, 10)


@pytest.mark.parametrize(
    ("measure", "reference"),
    [(giou, ops.generalized_box_iou_loss), (diou, ops.distance_box_iou_loss), (ciou, ops.complete_box_iou_loss)],
    ids=["giou", "diou", "ciou"],
)
def test_values_and_gradients_equal_torchvision(measure, reference):
    ours, theirs = random_boxes(200, 3).requires_grad_(), random_boxes(200, 3).requires_grad_()
    target = random_boxes(200, 4)
    loss, expected = 1 - measure(ours, target), reference(theirs, target, eps=1e-12)
    assert torch.allclose(loss, expected, atol=1e-9)
    loss.sum().backward()
    expected.sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-9)


@pytest.mark.parametrize("measure", [iou, giou, diou])  # ciou's weight alpha takes no gradient, by definition
def test_gradcheck(measure):
    a, b = random_boxes(6, 5).requires_grad_(), random_boxes(6, 6).requires_grad_()
    assert gradcheck(measure, (a, b))


@settings(deadline=None, max_examples=200)
@given(box, box, st.floats(-50, 50), st.floats(0.5, 20))
def test_laws_of_the_family(a, b, shift, factor):
    values = {measure.__name__: measure(a, b) for measure in MEASURES}
    assert 0 <= values["iou"] <= 1
    assert -1 <= values["giou"] <= values["iou"] + 1e-12
    assert -1 <= values["diou"] <= values["iou"] + 1e-12
    assert -2 <= values["ciou"] <= values["diou"] + 1e-12
    for measure in MEASURES:
        value = values[measure.__name__]
        assert measure(b, a) == pytest.approx(value.item(), abs=1e-9)
        assert measure(a * factor + shift, b * factor + shift) == pytest.approx(value.item(), abs=1e-9)
        assert measure(a, a) == pytest.approx(1, abs=1e-12)


def test_shape_term_of_ciou_by_hand():
    wide, tall = torch.tensor([0.0, 1.0, 4.0, 3.0]), torch.tensor([1.0, 0.0, 3.0, 4.0])  # one centre, overlap 4 of 12
    v = 4 / math.pi**2 * (math.atan(2) - math.atan(0.5)) ** 2
    assert ciou(wide, tall).item() == pytest.approx(1 / 3 - v * v / (1 - 1 / 3 + v), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("measure", MEASURES)
def test_degenerate_boxes_give_finite_values_and_gradients(measure, dtype):
    for first, second in DEGENERATE:
        a = torch.tensor(first, dtype=dtype).requires_grad_()
        b = torch.tensor(second, dtype=dtype).requires_grad_()
        value = measure(a, b)
        value.backward()
        assert value.isfinite() and a.grad.isfinite().all() and b.grad.isfinite().all(), (first, second)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_lifted(dtype):
    a, b = random_boxes(50, 7).to(dtype), random_boxes(50, 8).to(dtype)
    for measure in MEASURES:
        assert measure(a, b).dtype == torch.float32
        assert torch.equal(measure(a, b), measure(a.float(), b.float()))
    assert area(torch.tensor([0, 0, 512, 512], dtype=dtype)) == 512 * 512  # beyond float16


def test_double_precision_stays():
    assert all(measure(random_boxes(2), random_boxes(2)).dtype == torch.float64 for measure in MEASURES)


def test_normalised_tiny_boxes_are_exact():
    tiny = torch.tensor([0.5, 0.5, 0.5 + 1 / 512, 0.5 + 1 / 512])
    shifted = tiny + torch.tensor([1 / 1024, 0, 1 / 1024, 0])
    assert boxes.iou(tiny, shifted).item() == pytest.approx(1 / 3, rel=1e-6)
