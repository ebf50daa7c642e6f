"""Cases about box losses."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from detkit.checks.case import Broken
from detkit.checks.subject import Subject, near

DEGENERATE = (
    ((0, 0, 0, 0), (0, 0, 0, 0)),
    ((5, 5, 5, 5), (0, 0, 10, 10)),
    ((0, 0, 10, 10), (5, 5, 5, 5)),
    ((3, 3, 3, 9), (3, 3, 3, 9)),
    ((3, 3, 9, 3), (3, 3, 3, 9)),
    ((9, 9, 1, 1), (0, 0, 4, 4)),
    ((0, 0, 4, 4), (0, 0, 4, 4)),
    ((0, 0, 4, 4), (4, 0, 8, 4)),
    ((0, 0, 1, 1), (600, 600, 639, 639)),
    ((-1e4, -1e4, 1e4, 1e4), (0, 0, 1e-3, 1e-3)),
)
"""Pairs of boxes without extent, inverted, equal, touching, or far apart."""
SIZE = (640.0, 480.0)
HALVES = (torch.bfloat16, torch.float16)


def pairs(count: int = 6, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Return predicted boxes and targets that overlap a little."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(2, count, 2, generator=generator, dtype=dtype) * 20
    boxes = torch.cat((corner, corner + 20 + torch.rand(2, count, 2, generator=generator, dtype=dtype) * 60), -1)
    return boxes[0], boxes[1]


def compares_pair_by_pair(subject: Subject) -> None:
    """A box loss gives one number a pair, whatever the shape in front and whichever pairs count."""
    loss = subject.built().eval()
    predicted, target = (x.view(2, 3, 4) for x in pairs())
    valid = torch.tensor([[True, False, True]] * 2)
    for arguments in ((None, _size()), (valid, _size())):
        found = loss(predicted, target, *arguments)
        if found.shape != (2, 3):
            raise Broken(
                f"pairs of shape (2, 3) give {tuple(found.shape)}", "return one loss a pair; the criterion weighs and sums"
            )
    alone = torch.stack([loss(predicted[0, i], target[0, i], None, _size()) for i in range(3)])
    near([alone], [loss(predicted, target, None, _size())[0]], 1e-5, "a pair alone and among others (evaluation)")


def is_zero_where_equal(subject: Subject) -> None:
    """Equal boxes cost nothing, others something, farther ones more."""
    loss = subject.built().eval()
    predicted, target = pairs(dtype=torch.float64)
    worst = loss(target, target, None, _size(torch.float64)).abs().max().item()
    if worst > 1e-6:
        raise Broken(f"equal boxes cost {worst:.2g}", "subtract what a perfect match gives, as in 1 - iou")
    if not (loss(predicted, target, None, _size(torch.float64)) > 0).all():
        raise Broken("boxes that differ cost nothing, or less", "a loss is positive where the boxes differ")


def stays_finite_on_degenerate_boxes(subject: Subject) -> None:
    """Boxes without extent, inverted or far apart give finite losses and gradients, in half precision too."""
    for dtype in (torch.float32, torch.float64, *HALVES):
        predicted = torch.tensor([pair[0] for pair in DEGENERATE], dtype=dtype).requires_grad_()
        target = torch.tensor([pair[1] for pair in DEGENERATE], dtype=dtype)
        values = subject.built().train()(predicted, target, None, _size())
        values.sum().backward()
        for what, found in (("loss", values), ("gradient", predicted.grad)):
            for row, pair in zip(found if found is not None else (), DEGENERATE, strict=True):
                if not row.isfinite().all():
                    raise Broken(
                        f"the {what} of {pair[0]} against {pair[1]} is not finite in {dtype}",
                        "add detkit.boxes.EPSILON to what divides, and clamp before a root or logarithm",
                    )


def keeps_or_lifts_precision(subject: Subject) -> None:
    """Float64 boxes give float64 losses, half precision is lifted to float32."""
    for given, wanted in ((torch.float64, torch.float64), *((half, torch.float32) for half in HALVES)):
        predicted, target = (x.to(given) for x in pairs())
        found = subject.built()(predicted, target, None, _size()).dtype
        if found != wanted:
            raise Broken(
                f"{given} boxes give a {found} loss", "lift both boxes with detkit.boxes.lift, and cast nothing by name"
            )


def moves_boxes_to_their_targets(subject: Subject) -> None:
    """A small step against the gradient makes the loss of every pair smaller."""
    loss = subject.built().eval()
    predicted, target = pairs(dtype=torch.float64)
    predicted.requires_grad_()
    before = loss(predicted, target, None, _size(torch.float64))
    before.sum().backward()
    if predicted.grad is None or not predicted.grad.abs().sum(-1).gt(0).all():
        raise Broken("no gradient reaches the predicted boxes", "leave out detach() and no_grad()")
    step = 1e-4 * predicted.grad / predicted.grad.norm(dim=-1, keepdim=True)
    after = loss((predicted - step).detach(), target, None, _size(torch.float64))
    if not (after < before).all():
        raise Broken("a step against the gradient makes the loss no smaller", "detach only what is meant as a constant weight")


def learns_in_training_alone(subject: Subject) -> None:
    """A running state changes in training only, and pairs that don't count leave no trace in it."""
    predicted, target = pairs()
    loss = subject.built().eval()
    before = copy.deepcopy(loss.state_dict())
    loss(predicted, target, None, _size())
    if any(not torch.equal(value, before[name]) for name, value in loss.state_dict().items()):
        raise Broken("evaluation changes its running state", "update it only if self.training")
    none = torch.zeros(len(predicted), dtype=torch.bool)
    if not loss.train()(predicted, target, none, _size()).isfinite().all():
        raise Broken("a batch without a pair that counts gives losses that are not finite", "divide by clamp(min=1)")
    for name, value in loss.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise Broken(f"a batch without pairs spoils its '{name}'", "leave the running state alone where nothing counts")


def compiles_as_one(subject: Subject) -> None:
    """``torch.compile`` makes one graph of it."""
    loss, (predicted, target) = subject.built().eval(), pairs()
    torch.compiler.reset()
    compiled = torch.compile(copy.deepcopy(loss), backend="aot_eager", fullgraph=True, dynamic=False)
    valid = torch.ones(len(predicted), dtype=torch.bool)
    expected = loss(predicted, target, valid, _size())
    near([compiled(predicted, target, valid, _size())], [expected], 1e-5, "compiled")


def _size(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(SIZE, dtype=dtype)
