"""Cases about what trains a detector: class losses, assigners, matchers, criteria."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from detkit.checks.case import Broken, Skipped
from detkit.checks.subject import Subject
from detkit.checks.subjects import NUM_CLASSES, some_targets
from detkit.structures import DenseOutput, Proposals, QueryOutput, Targets


def costs_every_logit(subject: Subject) -> None:
    """A class loss gives a finite number, with a finite gradient, for any logit and any quality."""
    loss = subject.built()
    logits = torch.linspace(-100, 100, 21).repeat(3, 1).requires_grad_()
    quality = torch.tensor([[0.0], [0.5], [1.0]]).expand(3, 21)
    for name, values in (("absent", loss.absent(logits)), ("present", loss.present(logits, quality))):  # type: ignore[operator]
        if values.shape != logits.shape:
            raise Broken(f"{name}() gives {tuple(values.shape)} for logits {tuple(logits.shape)}", "return one loss a logit")
        (gradient,) = torch.autograd.grad(values.sum(), logits)
        if not (values.isfinite().all() and gradient.isfinite().all()):
            raise Broken(f"{name}() is not finite for all logits", "use logsigmoid and softplus, not log(sigmoid)")
        if (values < -1e-6).any():
            raise Broken(f"{name}() is negative", "a loss is 0 at best")
    double = loss.absent(logits.double())  # type: ignore[operator]
    if double.dtype != torch.float64:
        raise Broken(f"float64 logits give {double.dtype}", "cast nothing by name")


def knows_good_from_bad(subject: Subject) -> None:
    """A class that is absent costs more with a higher logit; one present in a perfect box with a lower one."""
    loss, logits = subject.built(), torch.linspace(-4, 4, 9)
    absent, present = loss.absent(logits), loss.present(logits, torch.ones(9))  # type: ignore[operator]
    if not (absent.diff() > 0).all():
        raise Broken("absent() doesn't rise with the logit", "an absent class should have a low score")
    if not (present.diff() < 0).all():
        raise Broken("present() doesn't fall with the logit where the box is perfect", "a class found should have a high score")


def assigns_each_prediction_once(subject: Subject) -> None:
    """Slots hold predictions and boxes that exist; no prediction fills two of an image; nothing takes a gradient."""
    scores, boxes, anchors, targets = dense_predictions()
    found = subject.built().train()(scores.requires_grad_(), boxes, anchors, targets)
    filled = found.weight > 0
    if found.weight.requires_grad:
        raise Broken("its weights have a gradient", "compute them under torch.no_grad()")
    if found.prediction.min() < 0 or found.prediction.max() >= boxes.shape[1]:
        raise Broken("a slot names a prediction that doesn't exist", "empty slots name any that does, with weight 0")
    if not filled.any():
        raise Broken("no prediction answers for boxes that some predictions match exactly")
    if (filled & (found.target >= targets.counts[:, None])).any():
        raise Broken("padding is assigned as if it were a box", "mask with targets.mask")
    if ((found.weight < 0) | (found.weight > 1)).any():
        raise Broken("a weight is not in [0, 1]", "weights are class scores to learn")
    for image in range(len(boxes)):
        used = found.prediction[image][filled[image]]
        if len(used.unique()) != len(used):
            raise Broken("a prediction answers for two boxes", "keep the better of both")


def dense_predictions() -> tuple[Tensor, Tensor, Tensor, Targets]:
    """Return logits, boxes and anchors of an 8x8 grid over 64 pixels, and targets, some of which are predicted exactly."""
    targets = some_targets(3)
    axis = torch.arange(8) * 8 + 4.0
    anchors = torch.cartesian_prod(axis, axis).flip(-1)
    boxes = torch.cat((anchors - 8, anchors + 8), -1).repeat(3, 1, 1)
    for image, (real, _) in enumerate(targets.per_image()):
        for box in real:
            inside = ((anchors > box[:2]) & (anchors < box[2:])).all(-1)
            boxes[image, inside] = box
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 64, NUM_CLASSES, generator=generator), boxes, anchors, targets


def matches_one_to_one(subject: Subject) -> None:
    """Each box gets a query of its own in every layer, padding none."""
    raw, targets = query_output(), some_targets(2, size=1)
    truth = targets._replace(boxes=_centred(targets.boxes))
    found = subject.built()(raw.scores, raw.boxes, truth)
    if found.shape != (2, 2, targets.boxes.shape[1]) or found.dtype != torch.int64:
        raise Broken(f"it returns {tuple(found.shape)} {found.dtype}", "return (L, B, M) int64: the query of each box, or -1")
    for layer in found:
        for row, count in zip(layer.tolist(), targets.counts.tolist(), strict=True):
            if len(set(row[:count])) != count or min(row[:count], default=0) < 0:
                raise Broken("boxes share a query, or have none", "match one to one")
            if set(row[count:]) - {-1}:
                raise Broken("padding is matched", "give -1 where there is no box")


def gives_finite_losses(subject: Subject) -> None:
    """A criterion gives a dict of finite scalars whose sum has finite gradients, with boxes and without, in bf16 too."""
    make = raw_output(subject)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for count in (2, 0):
            raw, leaves = make(dtype)
            targets = some_targets(2)
            targets = targets if count else targets._replace(counts=targets.counts * 0)
            losses = subject.built().train()(raw, targets)
            for name, value in losses.items():
                if value.ndim or not value.isfinite():
                    raise Broken(f"'{name}' is {value} in {dtype}", "give finite scalars; divide by a count clamped to 1")
            torch.stack([value.to(torch.float64) for value in losses.values()]).sum().backward()
            if not all(leaf.grad is None or leaf.grad.isfinite().all() for leaf in leaves):
                raise Broken(f"gradients are not finite in {dtype}", "look for a division, root or logarithm at zero")
            if count and all(leaf.grad is None or not leaf.grad.any() for leaf in leaves):
                raise Broken("no gradient reaches the predictions", "leave out detach() and no_grad()")


def raw_output(subject: Subject) -> Callable[[torch.dtype], tuple[DenseOutput | QueryOutput, list[Tensor]]]:
    """Return what makes raw outputs of the type that a criterion reads, with the tensors that gradients reach.

    Raises:
        Skipped: it reads a type of its own.
    """
    reads = subject.spec.reads  # type: ignore[attr-defined]
    if reads is QueryOutput:
        return _query_leaves
    if reads is DenseOutput:
        return _dense_leaves
    raise Skipped("it reads a raw output of its own kind, which only its own tests know")


def _dense_leaves(dtype: torch.dtype) -> tuple[DenseOutput, list[Tensor]]:
    scores, _, anchors, _ = dense_predictions()
    leaves = [torch.randn(2, 64, 4, 8).to(dtype).requires_grad_(), scores[:2].to(dtype).requires_grad_()]
    return DenseOutput(leaves[0], leaves[1], anchors, torch.full((64,), 8.0)), leaves


def _query_leaves(dtype: torch.dtype) -> tuple[QueryOutput, list[Tensor]]:
    raw = query_output()
    leaves = [raw.boxes.to(dtype).requires_grad_(), raw.scores.to(dtype).requires_grad_()]
    proposals = Proposals(leaves[0][0], leaves[1][0], torch.rand(10, 2) * 64, torch.arange(10).repeat(2, 1))
    return QueryOutput(leaves[0], leaves[1], (64, 64), proposals), leaves


def query_output() -> QueryOutput:
    """Return random boxes and logits of two layers, two images and ten queries."""
    generator = torch.Generator().manual_seed(0)
    boxes = 0.2 + 0.4 * torch.rand(2, 2, 10, 4, generator=generator)
    return QueryOutput(boxes, torch.randn(2, 2, 10, NUM_CLASSES, generator=generator), (64, 64))


def _centred(boxes: Tensor) -> Tensor:
    return torch.cat(((boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]), -1)
