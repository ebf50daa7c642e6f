"""What every registered box loss must hold, swept over all of them, and the three first ones by value."""

import pytest
import torch
from torchvision import ops

from detkit.losses.ciou import CIoU
from detkit.losses.diou import DIoU
from detkit.losses.giou import GIoU
from detkit.parts import BoxLossSpec
from detkit.spec import from_dict, to_dict
from tests.test_boxes import DEGENERATE, random_boxes

PARTS = [part for part in BoxLossSpec.parts().values() if part.__module__.startswith("detkit.")]
SIZE = torch.tensor([640.0, 480.0])
every_part = pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)


def test_the_sweep_sees_the_parts():
    assert {CIoU, DIoU, GIoU} <= set(PARTS)


@pytest.mark.parametrize(
    ("part", "reference"),
    [(GIoU, ops.generalized_box_iou_loss), (DIoU, ops.distance_box_iou_loss), (CIoU, ops.complete_box_iou_loss)],
)
def test_equals_torchvision(part, reference):
    a, b = random_boxes(100, 1), random_boxes(100, 2)
    assert torch.allclose(part().build()(a, b), reference(a, b, eps=1e-12), atol=1e-9)


@every_part
def test_one_loss_a_pair_and_none_where_equal(part):
    a, b = random_boxes(6, 3).view(2, 3, 4), random_boxes(6, 4).view(2, 3, 4)
    loss = part().build()
    assert loss(a, b, torch.ones(2, 3, dtype=torch.bool), SIZE).shape == (2, 3)
    assert loss(a, a, None, SIZE).abs().max() < 1e-9
    assert (loss(a, b, None, SIZE) > 0).all()


@every_part
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_degenerate_boxes_give_finite_losses_and_gradients(part, dtype):
    predicted = torch.tensor([pair[0] for pair in DEGENERATE], dtype=dtype).requires_grad_()
    target = torch.tensor([pair[1] for pair in DEGENERATE], dtype=dtype)
    values = part().build()(predicted, target, None, SIZE)
    values.sum().backward()
    assert values.dtype == torch.float32
    assert values.isfinite().all()
    assert predicted.grad.isfinite().all()


@every_part
@pytest.mark.parametrize("start", [[10.0, 10, 60, 40], [200.0, 150, 300, 300], [90.0, 70, 150, 150]])
def test_descent_moves_a_box_onto_its_target(part, start):
    """Adam on distances from a fixed point, as the dense head predicts them."""
    target = torch.tensor([[80.0, 60, 180, 140]])
    box, loss = torch.tensor([start], requires_grad=True), part().build()
    optimizer = torch.optim.Adam([box], lr=4.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        optimizer.zero_grad()
        loss(box, target, None, SIZE).sum().backward()
        optimizer.step()
        schedule.step()
    assert ops.box_iou(box.detach(), target).item() > 0.95


@every_part
def test_round_trip(part):
    assert from_dict(BoxLossSpec, to_dict(part())) == part()
