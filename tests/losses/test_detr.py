"""The criterion of RT-DETR: the golden file, a plain second implementation, edges, precision, one graph."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from detkit.boxes import to_pixels, to_xyxy
from detkit.losses.ciou import CIoU
from detkit.losses.dense_proposals import DenseProposals
from detkit.losses.detr import DETRCriterion
from detkit.losses.focal import Focal
from detkit.losses.mal import MAL
from detkit.losses.task_aligned import TaskAligned
from detkit.losses.varifocal import Varifocal
from detkit.parts import BoxLoss, CriterionSpec
from detkit.spec import from_dict, to_dict
from detkit.structures import QueryOutput, Targets
from tests.losses import plain, plain_detr
from tests.losses.queries import CLASSES, SIZE, box_targets, leaves, like, query_output

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "rtdetr_criterion.json").read_text())
TERMS = ("class", "l1", "box")
DENSE = {"dense": DenseProposals()}
both = pytest.mark.parametrize("fields", [{}, DENSE], ids=["published", "dense"])


def criterion(classes=CLASSES, **fields) -> nn.Module:
    return DETRCriterion(**fields).build(classes, (8, 16, 32))


def backward(raw, targets, module=None):
    """Return the losses as numbers and the gradient of each leaf, by name."""
    module = criterion() if module is None else module
    losses = module(raw, targets)
    gradients = torch.autograd.grad(sum(losses.values()), list(leaves(raw).values()))
    return {name: value.item() for name, value in losses.items()}, dict(zip(leaves(raw), gradients, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_reference(dtype):
    rng = np.random.default_rng(11)
    scores = torch.tensor(rng.normal(-2, 1.5, (1, 2, 300, 80)), dtype=dtype)
    boxes = torch.tensor(1 / (1 + np.exp(-rng.normal(size=(1, 2, 300, 4)))), dtype=dtype)
    truth = [to_pixels(to_xyxy(torch.tensor(image["boxes_cxcywh"], dtype=dtype)), (480, 640)) for image in GOLDEN["targets"]]
    targets = Targets.pack(truth, [torch.tensor(image["labels"]) for image in GOLDEN["targets"]])
    losses = criterion(80)(QueryOutput(boxes, scores, (480, 640)), targets)
    assert tuple(losses) == TERMS
    assert [losses[name].item() for name in TERMS] == pytest.approx(list(GOLDEN["losses"].values()), rel=1e-5)


@pytest.mark.parametrize("queries", [24, 12], ids=["enough queries", "fewer queries than boxes"])
@pytest.mark.parametrize("loss", [Varifocal, Focal, MAL], ids=lambda loss: loss.__name__)
def test_equals_the_plain_implementation(loss, queries):
    counts = (3, 0, 17)
    raw, targets = query_output(counts, 1, queries=queries), box_targets(counts, 1)
    expected = plain_detr.criterion(raw, targets, getattr(plain_detr, loss.__name__.lower()))
    assert len(expected) == 12
    assert backward(raw, targets, criterion(class_loss=loss()))[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("layers", [1, 2])
def test_keys_say_what_there_is(layers):
    raw, targets = query_output((2, 1), layers=layers), box_targets((2, 1))
    for part in (raw, raw._replace(proposals=None), raw._replace(denoised=None), raw._replace(proposals=None, denoised=None)):
        assert backward(part, targets)[0] == pytest.approx(plain_detr.criterion(part, targets), rel=1e-9)


def test_dense_proposals_equal_the_plain_assignment():
    raw, targets = query_output((4, 0, 7), 2), box_targets((4, 0, 7), 2)
    losses, _ = backward(raw, targets, criterion(dense=DenseProposals(gain=0.5)))
    published, _ = backward(raw, targets)
    assert {name: losses[name] for name in published if not name.startswith("proposal_")} == pytest.approx(
        {name: value for name, value in published.items() if not name.startswith("proposal_")}
    )
    assert not any(name.startswith("proposal_") for name in losses)

    pixels = to_xyxy(to_pixels(raw.proposals.boxes.detach(), SIZE)).tolist()
    anchors, sums, total = raw.proposals.anchors.tolist(), [0.0, 0.0, 0.0], 0.0
    for image, truth, labels in plain_detr.images(raw, targets):
        scores, boxes = raw.proposals.scores[image].tolist(), raw.proposals.boxes[image].tolist()
        found = targets.boxes[image, : len(truth)].tolist()
        assigned, _ = plain.assign(scores, pixels[image], anchors, found, labels, candidates=8)
        for cell, logits in enumerate(scores):
            box, weight = assigned.get(cell, (None, 0.0))
            for label, logit in enumerate(logits):
                here = box is not None and labels[box] == label
                sums[0] += plain_detr.varifocal(plain.sigmoid(logit), weight if here else None)
            if box is not None:
                sums[1] += weight * sum(abs(a - b) for a, b in zip(boxes[cell], truth[box], strict=True))
                sums[2] += weight * (1 - plain_detr.overlap(boxes[cell], truth[box])[1])
        total += sum(weight for _, weight in assigned.values())
    expected = [0.5 * gain * value / max(1, total) for gain, value in zip((1, 5, 2), sums, strict=True)]
    assert [losses[f"dense_{name}"] for name in TERMS] == pytest.approx(expected, rel=1e-6)
    assert total > 1


def test_gradients_are_those_of_the_losses():
    """Central differences along random directions; focal loss alone has no constant that depends on the prediction."""
    raw, targets, module = query_output((3, 2), 3), box_targets((3, 2), 3), criterion(class_loss=Focal())
    _, gradients = backward(raw, targets, module)
    generator = torch.Generator().manual_seed(5)
    steps = {leaf.shape: 1e-6 * torch.randn(leaf.shape, dtype=leaf.dtype, generator=generator) for leaf in gradients.values()}
    assert len(steps) == len(gradients)  # a shape tells which leaf it is
    up, down = (
        sum(module(like(raw, lambda values, sign=sign: values + sign * steps[values.shape]), targets).values()).item()
        for sign in (1, -1)
    )
    expected = sum((gradient * steps[gradient.shape]).sum().item() for gradient in gradients.values())
    assert (up - down) / 2 == pytest.approx(expected, rel=1e-5)


@both
@pytest.mark.parametrize("counts", [(0, 0), (0, 7), (1, 0)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_images_without_boxes(fields, counts, dtype):
    raw, targets = query_output(counts, 4, dtype=dtype), box_targets(counts, 4)
    losses, gradients = backward(raw, targets, criterion(**fields))
    assert np.isfinite(list(losses.values())).all()
    assert all(gradient.isfinite().all() for gradient in gradients.values())  # and each exists: autograd.grad insists
    assert losses["class"] > 0
    assert gradients["scores"].abs().sum() > 0
    if not any(counts):
        assert all(value == 0 for name, value in losses.items() if not name.endswith("class"))
        assert not any(gradient.any() for name, gradient in gradients.items() if name.endswith("boxes"))
        assert losses["denoised_class"] == 0


HARD_TARGETS = {
    "three pixels": [[300.0, 200, 303, 203]],
    "the whole image": [[0.0, 0, 640, 640]],
    "no extent": [[50.0, 50, 50, 50]],
    "half outside": [[-100.0, -100, 100, 100]],
}
PREDICTIONS = {
    "random": lambda boxes: boxes,
    "no extent": lambda boxes: torch.cat((boxes[..., :2], torch.zeros_like(boxes[..., 2:])), -1),
    "all equal": lambda boxes: torch.full_like(boxes, 0.5),
    "saturated": lambda boxes: boxes.round(),
}


@both
@pytest.mark.parametrize("boxes", HARD_TARGETS.values(), ids=HARD_TARGETS)
@pytest.mark.parametrize("change", PREDICTIONS.values(), ids=PREDICTIONS)
def test_hard_boxes_give_finite_losses_and_gradients(fields, boxes, change):
    targets = Targets.pack([torch.tensor(boxes), torch.zeros(0, 4)], [torch.tensor([1]), torch.zeros(0, dtype=torch.long)])
    raw = query_output((1, 0), 5, dtype=torch.float32)._replace(size=(640, 640))
    changed = like(raw, lambda values: change(values) if values.shape[-1] == 4 else values * 100)
    losses, gradients = backward(changed, targets, criterion(**fields))
    assert np.isfinite(list(losses.values())).all()
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_predictions_equal_to_an_image_wide_box_cost_their_class_only():
    raw, targets = query_output((1,), 6), Targets.pack([torch.tensor([[0.0, 0, 64, 96]])], [torch.tensor([2])])
    whole = torch.tensor([0.5, 0.5, 1, 1], dtype=torch.float64)
    losses, _ = backward(like(raw, lambda values: whole.expand_as(values) if values.shape[-1] == 4 else values), targets)
    assert all(value == pytest.approx(0, abs=1e-12) for name, value in losses.items() if not name.endswith("class"))


@both
def test_what_is_not_a_number_stays_so(fields):
    """The training loop looks for losses that are no numbers; matching must not stop it earlier, nor hide them."""
    targets = box_targets((5, 9), 7)
    raw = like(query_output((5, 9), 7), lambda values: values * float("nan"))
    losses = criterion(**fields)(raw, targets)
    assert all(losses[name].isnan() for name in TERMS)


@both
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_lifted(fields, dtype):
    targets = box_targets((5, 9), 7)
    half = query_output((5, 9), 7, dtype=dtype)
    (losses, gradients), (expected, _) = (
        backward(raw, targets, criterion(**fields)) for raw in (half, like(half, lambda values: values.float()))
    )
    assert losses == pytest.approx(expected, rel=1e-6)
    assert all(gradient.isfinite().all() and gradient.dtype == dtype for gradient in gradients.values())


@both
def test_autocast_does_not_lower_the_precision(fields):
    raw, targets = query_output((5, 9), 8, dtype=torch.float32), box_targets((5, 9), 8)
    expected = criterion(**fields)(raw, targets)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = criterion(**fields)(raw, targets)
    assert all(torch.equal(lowered[name], expected[name]) for name in expected)


@both
def test_padding_and_order_of_boxes_do_not_matter(fields):
    counts = (5, 9)
    raw, targets = query_output(counts, 9), box_targets(counts, 9)
    losses, _ = backward(raw, targets, criterion(**fields))
    assert backward(raw, box_targets(counts, 9, multiple=48), criterion(**fields))[0] == pytest.approx(losses, rel=1e-9)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    targets.boxes[0, :5], targets.labels[0, :5] = targets.boxes[0, order], targets.labels[0, order]
    place = torch.arange(raw.denoised.target.max() + 1)
    place[order] = torch.arange(5)  # box order[i] is now the i-th
    renamed = raw.denoised.target.clone()
    renamed[0] = place[renamed[0]]
    moved = raw._replace(denoised=raw.denoised._replace(target=renamed))
    assert backward(moved, targets, criterion(**fields))[0] == pytest.approx(losses, rel=1e-9)


def test_places_that_are_not_real_count_nowhere():
    counts = (2, 9)
    raw, targets = query_output(counts, 10), box_targets(counts, 10)
    losses, gradients = backward(raw, targets)
    empty = raw.denoised.share == 0
    assert empty.any()
    assert not any(gradients[f"denoised.{name}"][:, empty].any() for name in ("boxes", "scores"))
    denoised = raw.denoised._replace(scores=raw.denoised.scores.masked_fill(empty[..., None], 7.0))
    assert backward(raw._replace(denoised=denoised), targets)[0] == losses


def test_gains_scale_their_losses():
    raw, targets = query_output((5, 9), 11), box_targets((5, 9), 11)
    losses, _ = backward(raw, targets)
    bare, _ = backward(raw, targets, criterion(class_gain=2, l1_gain=1, box_gain=1))
    gains = {"class": 0.5, "l1": 5, "box": 2}
    assert {name: gains[name.split("_")[-1]] * value for name, value in bare.items()} == pytest.approx(losses)


class Probe(BoxLoss):
    """Remembers what it was called with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, predicted, target, valid=None, size=None):
        self.seen.append((predicted, target, valid, size))
        return (predicted - target).abs().sum(-1)


def test_a_box_loss_gets_the_pairs_their_validity_and_the_image_size():
    raw, targets = query_output((3, 2), 12), box_targets((3, 2), 12)
    module = criterion()
    module.box_loss = probe = Probe()
    module(raw, targets)
    (predicted, target, valid, size), (_, _, noisy, _) = probe.seen
    assert size.tolist() == [1, 1]
    assert predicted.shape == target.shape == (*valid.shape, 4)
    assert valid.sum() == 4 * 5  # three layers and the proposals
    assert noisy.sum() == 3 * 2 * 5  # three layers, two groups
    wanted = (targets.boxes / torch.tensor([64, 96, 64, 96])).double()
    assert torch.allclose(target[0][valid[0]], wanted[targets.mask], atol=1e-6)


def test_slots():
    raw, targets = query_output((3, 2), 13), box_targets((3, 2), 13)
    spec = DETRCriterion(box_loss=CIoU(), dense=DenseProposals(assigner=TaskAligned(candidates=3)), class_loss=MAL())
    assert from_dict(CriterionSpec, to_dict(spec)) == spec
    losses, _ = backward(raw, targets, spec.build(CLASSES, ()))
    other, _ = backward(raw, targets, criterion(**DENSE))
    assert losses["box"] != other["box"] and losses["class"] != other["class"] and losses["dense_l1"] != other["dense_l1"]
    assert losses["l1"] == other["l1"]


@both
def test_nothing_is_read_from_the_device_but_by_the_matching(fields):
    """Tensors without values: reading one, or a shape that depends on one, is an error; matching is one operator."""
    raw, targets = query_output((3, 2), 14, dtype=torch.float32), box_targets((3, 2), 14)

    def away(part):
        return part._replace(**{name: values.to("meta") for name, values in part._asdict().items()})

    raw = raw._replace(
        boxes=raw.boxes.to("meta"), scores=raw.scores.to("meta"), proposals=away(raw.proposals), denoised=away(raw.denoised)
    )
    raw = like(raw, lambda values: values)
    losses = criterion(**fields)(raw, Targets(*(values.to("meta") for values in targets[:3])))
    sum(losses.values()).backward()
    assert raw.boxes.grad.is_meta


@pytest.mark.parametrize(
    ("fields", "backend"),
    [
        ({}, "eager"),
        pytest.param({}, "aot_eager", marks=pytest.mark.slow),
        pytest.param(DENSE, "aot_eager", marks=pytest.mark.slow),
    ],
    ids=["published, traced", "published", "dense"],
)
def test_is_one_graph_for_any_number_of_boxes(fields, backend):
    torch.compiler.reset()
    module = criterion(**fields)
    compiled = torch.compile(module, fullgraph=True, backend=backend)
    for counts in [(3, 9)] if backend == "eager" else [(3, 9), (0, 0), (20, 2)]:
        raw, targets = query_output(counts, 15), box_targets(counts, 15)
        (found, gradients), (expected, wanted) = backward(raw, targets, compiled), backward(raw, targets, module)
        assert found == pytest.approx(expected, rel=1e-9)
        for name, gradient in gradients.items():
            assert torch.allclose(gradient, wanted[name], rtol=1e-7, atol=1e-10), name
