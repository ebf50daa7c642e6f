"""Bugs planted in parts of the other families, each found by the case that it is for."""

import pytest
import torch
from torch import nn

from detkit.boxes import ciou, iou
from detkit.checks import box_losses, detectors, heads, losses, shapes
from detkit.checks.case import examine
from detkit.checks.contracts import contract
from detkit.checks.subject import Subject
from detkit.detectors.yolo import YOLO
from detkit.heads.dense import DenseHead
from detkit.losses.detection import DetectionCriterion
from detkit.losses.focal import Focal
from detkit.losses.hungarian import Hungarian
from detkit.losses.task_aligned import TaskAligned
from detkit.parts import Backbone, BackboneSpec, BoxLoss, BoxLossSpec, Neck, NeckSpec
from detkit.structures import Level
from tests.networks import small_yolo


class SquareNet(Backbone):
    """Levels of strides 2 and 4; spoilt by keywords."""

    def __init__(self, levels=None, declared=8, deaf=False, backwards=False):
        super().__init__()
        self.fine, self.coarse = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        wanted = (2, 4) if levels is None or deaf else levels
        self.out = tuple(level for level in (Level(declared, 2), Level(16, 4)) if level.stride in wanted)
        if 4 not in wanted:
            del self.coarse
        self.out = self.out[::-1] if backwards else self.out

    def forward(self, images):
        maps = {2: self.fine(images)}
        if hasattr(self, "coarse"):
            maps[4] = self.coarse(maps[2])
        return [maps[level.stride] for level in self.out]


class Square(BackboneSpec):
    """Tells its network what to do wrong."""

    wrong: dict[str, int] = {}
    """Keywords."""

    def build(self, levels=None):
        return SquareNet(levels, **self.wrong)


class AddsAtOnce(Neck):
    """A remixer without a gate."""

    def __init__(self, levels):
        super().__init__()
        self.out = tuple(levels)
        self.mix = nn.ModuleList(nn.Conv2d(level.channels, level.channels, 1) for level in levels)

    def forward(self, maps):
        return [mix(x) for mix, x in zip(self.mix, maps, strict=True)]


class Abrupt(NeckSpec):
    """Changes maps from the start."""

    def build(self, levels):
        return AddsAtOnce(levels)


def outcome(spec, case):
    return examine(case, contract(spec.family()).subject(spec))


def test_a_sound_backbone_holds():
    spec = Square()
    for case in (shapes.keeps_its_shapes, shapes.declares_its_levels, shapes.builds_the_levels_asked_for):
        assert outcome(spec, case).outcome == "held"


@pytest.mark.parametrize(
    ("spec", "case", "words"),
    [
        (Square(wrong={"declared": 12}), shapes.keeps_its_shapes, "8 channels where the contract says 12"),
        (Square(wrong={"backwards": 1}), shapes.declares_its_levels, "strides [4, 2]"),
        (Square(wrong={"deaf": 1}), shapes.builds_the_levels_asked_for, "asked for strides [2], it gives [2, 4]"),
        (Abrupt(), shapes.remixes_gently, "differ from the given ones at the start"),
    ],
    ids=["channels", "order", "strides", "gate"],
)
def test_levels(spec, case, words):
    finding = outcome(spec, case)
    assert finding.outcome == "broke" and words in finding.text and finding.advice


class Measured(BoxLoss):
    """A box loss made of a function of the boxes and of whether it trains."""

    def __init__(self, measure):
        super().__init__()
        self.measure = measure
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, predicted, target, valid=None, size=None):
        return self.measure(self, predicted, target, valid)


class Plain(BoxLossSpec):
    """Never built by its fields: tests put a measure in its place."""

    def build(self, overlap=iou):
        return Measured(lambda loss, a, b, valid: 1 - ciou(a, b))


def raw_iou(a, b):
    """IoU as it is first written: no care for empty boxes."""
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return overlap / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - overlap)


def counting(loss, a, b, valid):
    values = 1 - ciou(a, b)
    loss.mean += values.detach().mean()
    return values


def mean_of_none(loss, a, b, valid):
    values = 1 - ciou(a, b)
    return values / (values[valid].mean() if valid is not None else 1)


@pytest.mark.parametrize(
    ("measure", "case"),
    [
        (lambda loss, a, b, valid: (1 - ciou(a, b)).mean(), box_losses.compares_pair_by_pair),
        (lambda loss, a, b, valid: 2 - ciou(a, b), box_losses.is_zero_where_equal),
        (lambda loss, a, b, valid: 1 - raw_iou(a, b), box_losses.stays_finite_on_degenerate_boxes),
        (lambda loss, a, b, valid: 1 - ciou(a.float(), b.float()), box_losses.keeps_or_lifts_precision),
        (lambda loss, a, b, valid: (1 - ciou(a, b)).to(a.dtype), box_losses.keeps_or_lifts_precision),
        (lambda loss, a, b, valid: 1 - ciou(a.detach(), b) + 0 * a.sum(-1), box_losses.moves_boxes_to_their_targets),
        (counting, box_losses.learns_in_training_alone),
        (mean_of_none, box_losses.learns_in_training_alone),
        (lambda loss, a, b, valid: 1 - ciou(a, b) if a.sum() > 0 else a.sum(-1), box_losses.compiles_as_one),
    ],
)
def test_box_losses(measure, case):
    assert examine(case, Subject(Plain(), lambda: Measured(measure))).outcome == "broke"
    assert outcome(Plain(), case).outcome == "held"


def spoilt(spec, change):
    """Return a subject whose network's forward gives what ``change`` makes of its result."""
    subject = contract(spec.family()).subject(spec)

    def make():
        built = subject.make()
        forward = built.forward
        built.forward = lambda *arguments: change(forward(*arguments))
        return built

    return Subject(spec, make)


@pytest.mark.parametrize(
    ("spec", "change", "case"),
    [
        (TaskAligned(), lambda a: a._replace(target=a.target + 5), losses.assigns_each_prediction_once),
        (TaskAligned(), lambda a: a._replace(prediction=a.prediction * 0), losses.assigns_each_prediction_once),
        (TaskAligned(), lambda a: a._replace(weight=a.weight * 3), losses.assigns_each_prediction_once),
        (Hungarian(), lambda found: found * 0, losses.matches_one_to_one),
        (Hungarian(), lambda found: found.float(), losses.matches_one_to_one),
        (DetectionCriterion(), lambda found: found | {"extra": torch.zeros(3)}, losses.gives_finite_losses),
        (DetectionCriterion(), lambda found: {"sum": sum(found.values()).detach()}, losses.gives_finite_losses),
    ],
)
def test_assigners_matchers_criteria(spec, change, case):
    assert examine(case, spoilt(spec, change)).outcome == "broke"
    assert outcome(spec, case).outcome == "held"


class Naive(nn.Module):
    def absent(self, logits):
        return -(1 - logits.sigmoid()).log()

    def present(self, logits, quality):
        return quality * logits.sigmoid()


@pytest.mark.parametrize("case", [losses.costs_every_logit, losses.knows_good_from_bad])
def test_class_losses(case):
    assert examine(case, Subject(Focal(), Naive)).outcome == "broke"


def test_a_head_gives_what_it_declares():
    class Other(DenseHead):
        """Declares one thing and does another."""

        gives = tuple

    assert outcome(DenseHead(), heads.puts_out_its_type).outcome == "held"
    subject = contract(DenseHead.family()).subject(DenseHead(bins=8))
    forward_of = subject.make

    def make():
        head = forward_of()
        forward = head.forward
        head.forward = lambda *arguments: forward(*arguments)._replace(scores=torch.zeros(2, 5))
        return head

    spoilt_head = type(subject)(**{**vars(subject), "make": make})
    finding = examine(heads.puts_out_its_type, spoilt_head)
    assert finding.outcome == "broke" and "scores" in finding.text


@pytest.mark.parametrize(
    ("method", "change", "case"),
    [
        ("decode", lambda found: found._replace(scores=found.scores + 2), detectors.predicts),
        ("detect", lambda found: [one._replace(scores=one.scores.flip(0)) for one in found], detectors.detects),
        ("loss", lambda found: {name: value * torch.nan for name, value in found.items()}, detectors.learns),
        (
            "fuse",
            lambda found: found.apply(lambda part: [p.data.mul_(1.01) for p in part.parameters(False)]),
            detectors.fuses_whole,
        ),
    ],
)
def test_detectors(method, change, case):
    spec = small_yolo()
    assert isinstance(spec, YOLO)

    def make():
        built = spec.build(3)
        sound = getattr(built, method)
        setattr(built, method, lambda *arguments, **options: change(sound(*arguments, **options)))
        return built

    assert examine(case, Subject(spec, make)).outcome == "broke"
