"""The criterion of YOLO: the golden file, a plain second implementation, edges, precision, one graph, two processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from detkit.losses.detection import DetectionCriterion
from detkit.losses.giou import GIoU
from detkit.parts import BoxLoss, CriterionSpec
from detkit.spec import from_dict, to_dict
from detkit.structures import DenseOutput, Targets
from tests.losses import plain
from tests.losses.scenes import BINS, CLASSES, SIZE, STRIDES, cells, random_targets, raw_output

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "yolo_criterion.json").read_text())
NAMES = ("box", "class", "dfl")


def criterion(classes=CLASSES, **fields) -> nn.Module:
    return DetectionCriterion(**fields).build(classes, STRIDES)


def backward(raw, targets, module=None):
    """Return the three losses as numbers and the gradients of both outputs."""
    module = criterion() if module is None else module
    losses = module(raw, targets)
    assert tuple(losses) == NAMES
    gradients = torch.autograd.grad(sum(losses.values()), (raw.distances, raw.scores))
    return [losses[name].item() for name in NAMES], gradients


def golden_case(case):
    rng = np.random.default_rng(case["seed"])
    distances = torch.tensor(rng.normal(0, 1.5, case["boxes_shape"]), dtype=torch.float32)
    scores = torch.tensor(rng.normal(-3, 1.5, case["scores_shape"]), dtype=torch.float32)
    distances = distances.unflatten(1, (4, 16)).permute(0, 3, 1, 2).requires_grad_()
    boxes, labels = [[], []], [[], []]
    for target in case["targets"]:
        x, y, width, height = (320 * value for value in target["cxcywh_normalised"])
        boxes[target["image"]].append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
        labels[target["image"]].append(target["label"])
    targets = Targets.pack([torch.tensor(b).view(-1, 4) for b in boxes], [torch.tensor(b, dtype=torch.long) for b in labels])
    return DenseOutput(distances, scores.mT.requires_grad_(), *cells(320)), targets


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: str(case["seed"]))
def test_equals_the_reference(case):
    losses, gradients = backward(*golden_case(case), criterion(80))
    assert losses == pytest.approx(case["loss"], rel=1e-5)
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_plain_implementation(seed):
    raw, targets = raw_output(3, seed, torch.float64), random_targets([5, 0, 12], seed, smallest=12)
    assert backward(raw, targets)[0] == pytest.approx(plain.criterion(raw, targets), rel=1e-9)


def test_gradients_are_those_of_the_losses():
    """Central differences along random directions; a step is far too small to change the assignment."""
    raw, targets = raw_output(2, 1, torch.float64), random_targets([4, 6], 1, smallest=12)
    _, gradients = backward(raw, targets, criterion(box_loss=GIoU()))  # CIoU's weight takes no gradient
    for field, gradient in zip(("distances", "scores"), gradients, strict=True):
        step = 1e-6 * torch.randn(gradient.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
        value = getattr(raw, field).detach()
        frozen = FrozenAssigner(raw, targets)
        ends = []
        for sign in (1, -1):
            module = criterion(box_loss=GIoU())
            module.assigner = frozen
            moved = raw._replace(**{field: (value + sign * step).requires_grad_()})
            ends.append(sum(module(moved, targets).values()).item())
        assert (ends[0] - ends[1]) / 2 == pytest.approx((gradient * step).sum().item(), rel=1e-5)


class FrozenAssigner(nn.Module):
    """The assignment of one moment: weights are constants of the losses."""

    def __init__(self, raw, targets):
        super().__init__()
        module, seen = criterion(), []
        module.assigner.register_forward_hook(lambda *call: seen.append(call[-1]))
        module(raw, targets)
        self.assignment = seen[0]

    def forward(self, *_):
        return self.assignment


@pytest.mark.parametrize("counts", [[0, 0], [0, 7], [1, 0]])
def test_images_without_boxes(counts):
    raw, targets = raw_output(2, 3), random_targets(counts, 3, smallest=16)
    losses, gradients = backward(raw, targets)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert losses[1] > 0
    assert gradients[1].abs().sum() > 0
    if not any(counts):
        assert losses[0] == losses[2] == 0
        assert gradients[0].abs().sum() == 0
    else:
        assert losses[0] > 0
        assert gradients[0].abs().sum() > 0


@pytest.mark.parametrize("corner", [(2.5, 2.5), (5.0, 5.0), (-3.0, 30.0), (31.0, 31.0)])
def test_one_box_of_three_pixels(corner):
    box = torch.tensor([[*corner, corner[0] + 3, corner[1] + 3]])
    targets = Targets.pack([box], [torch.tensor([1])])
    raw = raw_output(1, 4)
    losses, gradients = backward(raw, targets)
    assert np.isfinite(losses).all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("boxes", [[[5, 5, 5, 5]], [[-1e5, -1e5, 1e5, 1e5]], [[9, 9, 2, 2]], [[0, 0, 64, 1e-4]]])
@pytest.mark.parametrize("spread", [1.0, 300.0])
def test_extreme_boxes_and_logits_stay_finite(boxes, spread):
    targets = Targets.pack([torch.tensor(boxes, dtype=torch.float32)], [torch.tensor([1])])
    raw = raw_output(1, 4, spread=spread)
    losses, gradients = backward(raw._replace(scores=(raw.scores.detach() * spread).requires_grad_()), targets)
    assert np.isfinite(losses).all()
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_lifted(dtype):
    targets = random_targets([5, 9], 6, smallest=12)
    half = raw_output(2, 6, dtype)
    full = DenseOutput(*(values.detach().float() for values in half))
    full.distances.requires_grad_()
    full.scores.requires_grad_()
    (losses, gradients), (expected, _) = backward(half, targets), backward(full, targets)
    assert losses == pytest.approx(expected, rel=1e-6)
    assert all(gradient.isfinite().all() and gradient.dtype == dtype for gradient in gradients)


def test_autocast_does_not_lower_the_precision():
    raw, targets = raw_output(2, 7), random_targets([5, 9], 7, smallest=12)
    expected = criterion()(raw, targets)
    with torch.autocast("cpu", torch.bfloat16):
        lowered = criterion()(raw, targets)
    assert all(torch.equal(lowered[name], expected[name]) for name in NAMES)


def test_padding_and_order_of_boxes_do_not_matter():
    raw, targets = raw_output(2, 8), random_targets([5, 9], 8, smallest=12)
    losses, _ = backward(raw, targets)
    wider = random_targets([5, 9], 8, smallest=12, multiple=48)
    assert backward(raw, wider)[0] == pytest.approx(losses, rel=1e-6)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(0))
    targets.boxes[0, :5], targets.labels[0, :5] = targets.boxes[0, order], targets.labels[0, order]
    assert backward(raw, targets)[0] == pytest.approx(losses, rel=1e-6)


def test_gains_scale_their_losses():
    raw, targets = raw_output(2, 9), random_targets([5, 9], 9, smallest=12)
    plain_losses, _ = backward(raw, targets, criterion(box_gain=1, class_gain=1, dfl_gain=1))
    assert backward(raw, targets)[0] == pytest.approx([7.5 * plain_losses[0], 0.5 * plain_losses[1], 1.5 * plain_losses[2]])


class Probe(BoxLoss):
    """Remembers what it was called with."""

    def forward(self, predicted, target, valid=None, size=None):
        self.seen = predicted, target, valid, size
        return (predicted - target).abs().sum(-1)


def test_a_box_loss_gets_the_pairs_their_validity_and_the_image_size():
    raw, targets = raw_output(2, 10), random_targets([3, 2], 10, smallest=16)
    module = criterion()
    module.box_loss = probe = Probe()
    losses = module(raw, targets)
    predicted, target, valid, size = probe.seen
    assert size.tolist() == [SIZE, SIZE]
    assert predicted.shape == target.shape == (*valid.shape, 4)
    assert valid.sum() > 5
    rows = {tuple(box) for box in targets.boxes[targets.mask].tolist()}
    assert {tuple(box) for box in target[valid].tolist()} <= rows
    assert losses["box"] > 0


def test_box_loss_is_a_slot():
    raw, targets = raw_output(2, 11), random_targets([3, 2], 11, smallest=16)
    spec = DetectionCriterion(box_loss=GIoU())
    assert from_dict(CriterionSpec, to_dict(spec)) == spec
    ours, other = backward(raw, targets), backward(raw, targets, spec.build(CLASSES, STRIDES))
    assert ours[0][0] != other[0][0]
    assert ours[0][1:] == other[0][1:]


def test_nothing_is_read_from_the_device():
    """Tensors without values: reading one, or a shape that depends on one, is an error."""
    with torch.device("meta"):
        anchors, strides = cells()
        raw = DenseOutput(
            torch.zeros(2, len(anchors), 4, BINS, requires_grad=True),
            torch.zeros(2, len(anchors), CLASSES, requires_grad=True),
            anchors,
            strides,
        )
        targets = Targets(torch.zeros(2, 16, 4), torch.zeros(2, 16, dtype=torch.long), torch.zeros(2, dtype=torch.long))
        losses = criterion()(raw, targets)
    sum(losses.values()).backward()
    assert raw.distances.grad.is_meta


def test_is_one_graph_for_any_number_of_boxes():
    torch.compiler.reset()
    module = criterion()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for counts in ([3, 9], [30, 1], [0, 0], [50, 2]):
        raw, targets = raw_output(2, 12), random_targets(counts, 12, smallest=12)
        (found, gradients), (expected, wanted) = backward(raw, targets, compiled), backward(raw, targets, module)
        assert found == pytest.approx(expected, rel=1e-5)
        for a, b in zip(gradients, wanted, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
