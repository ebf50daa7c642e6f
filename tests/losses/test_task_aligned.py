"""Assignment: equal to the plainly written one, whatever the crowd; few, exact rules at the edges."""

import pytest
import torch

from detkit.losses import task_aligned
from detkit.losses.task_aligned import TaskAligned
from detkit.structures import Targets
from tests.losses import plain
from tests.losses.scenes import CLASSES, cells, random_targets

ANCHORS, STRIDES = cells(dtype=torch.float64)


def predictions(images, seed):
    generator = torch.Generator().manual_seed(seed)
    sides = (0.3 + 2 * torch.rand(images, len(ANCHORS), 4, generator=generator, dtype=torch.float64)) * STRIDES[:, None]
    scores = 2 * torch.randn(images, len(ANCHORS), CLASSES, generator=generator, dtype=torch.float64) - 1
    return scores, torch.cat((ANCHORS - sides[..., :2], ANCHORS + sides[..., 2:]), -1)


def filled(assignment, image):
    """{prediction: (box, weight)} of the slots in use; a prediction in two slots is an error."""
    rows = zip(*(part[image].tolist() for part in assignment), strict=True)
    rows = [row for row in rows if row[2] > 0]
    assert len({row[0] for row in rows}) == len(rows)
    return {prediction: (box, weight) for prediction, box, weight in rows}


def compare(scores, boxes, targets, **fields):
    """Assert that both implementations agree; return how many predictions were claimed by several boxes."""
    assignment = TaskAligned(**fields).build()(scores, boxes, ANCHORS, targets)
    contested = 0
    for image, (truth, labels) in enumerate(targets.per_image()):
        expected, several = plain.assign(
            scores[image].tolist(), boxes[image].tolist(), ANCHORS.tolist(), truth.tolist(), labels.tolist(), **fields
        )
        expected = {prediction: pair for prediction, pair in expected.items() if pair[1] > 0}
        found = filled(assignment, image)
        assert {n: m for n, (m, _) in found.items()} == {n: m for n, (m, _) in expected.items()}
        assert all(found[n][1] == pytest.approx(weight, rel=1e-9) for n, (_, weight) in expected.items())
        contested += several
    return contested


@pytest.mark.parametrize("seed", range(25))
def test_equals_the_plain_implementation(seed):
    counts = [(seed * 7 + i * 5) % 19 for i in range(3)]
    compare(*predictions(3, seed), random_targets(counts, seed))


@pytest.mark.parametrize("fields", [{"candidates": 3}, {"alpha": 1.0, "beta": 2.0}, {"smallest": 16.0}, {"candidates": 100}])
def test_fields_mean_the_same_in_both(fields):
    compare(*predictions(2, 5), random_targets([9, 4], 5, smallest=2, largest=24), **fields)


def test_crowds_are_contested_and_settled_alike():
    contested = sum(compare(*predictions(2, seed), random_targets([16, 14], seed, 16, 30, 50)) for seed in range(5))
    assert contested > 50


def test_equal_boxes_tie_and_the_first_wins():
    targets = random_targets([6, 5], 3, smallest=20)
    twice = torch.cat((targets.boxes[:, :6], targets.boxes[:, :6]), 1)
    labels = torch.cat((targets.labels[:, :6], (targets.labels[:, :6] + 1) % CLASSES), 1)
    doubled = Targets(twice[:1], labels[:1], torch.tensor([12]))
    scores, boxes = predictions(1, 4)
    assert compare(scores, boxes, doubled) > 0


def test_a_contest_is_won_by_the_closest_box_even_if_it_did_not_claim():
    """Three boxes around one anchor; the third overlaps its prediction most, yet ranks another prediction higher."""
    scores, boxes = predictions(1, 0)
    scores[:], boxes[:] = -20, torch.tensor([0.0, 0, 1, 1])
    x, y = ANCHORS[27].tolist()
    boxes[0, 27] = torch.tensor([x - 10, y - 10, x + 10, y + 10])
    boxes[0, 28] = boxes[0, 27] + 1
    scores[0, 27], scores[0, 28] = -8, 8
    truth = torch.tensor(
        [[x - 14.0, y - 10, x + 10, y + 10], [x - 10.0, y - 14, x + 10, y + 10], [x - 9.5, y - 9.5, x + 10.5, y + 10.5]]
    )
    targets = Targets.pack([truth.double()], [torch.tensor([0, 1, 2])])
    scores[0, 27, :2] = 8
    scores[0, 28, :2] = -8
    assignment = TaskAligned(candidates=1).build()(scores, boxes, ANCHORS, targets)
    assert filled(assignment, 0)[27][0] == 2
    compare(scores, boxes, targets, candidates=1)


def test_the_best_prediction_of_a_box_learns_its_overlap():
    scores, boxes = predictions(1, 1)
    targets = random_targets([1], 1, smallest=30)
    found = filled(TaskAligned().build()(scores, boxes, ANCHORS, targets), 0)
    truth = targets.boxes[0, 0].tolist()
    overlaps = [plain.ciou(boxes[0, n].tolist(), truth) for n in found]
    assert max(weight for _, weight in found.values()) == pytest.approx(max(overlaps), rel=1e-3)


def test_anchors_on_the_border_are_outside():
    x, y = ANCHORS[0].tolist()
    targets = Targets.pack([torch.tensor([[x, y - 3, x + 3.5, y + 3.5]])], [torch.tensor([0])])
    scores, boxes = predictions(1, 2)
    boxes[:] = targets.boxes[0, 0]
    assert filled(TaskAligned().build()(scores, boxes, ANCHORS, targets), 0) == {}


def test_a_box_between_anchors_is_found_only_if_enlarged():
    targets = Targets.pack([torch.tensor([[4.5, 4.5, 7.5, 7.5]])], [torch.tensor([0])])
    scores, boxes = predictions(1, 2)
    boxes[:] = targets.boxes[0, 0]
    assert filled(TaskAligned().build()(scores, boxes, ANCHORS, targets), 0) == {}
    assert filled(TaskAligned(smallest=16).build()(scores, boxes, ANCHORS, targets), 0)


def test_padding_is_never_assigned():
    scores, boxes = predictions(2, 3)
    targets = random_targets([3, 0], 3)
    junk = targets.boxes.clone()
    junk[0, 3:], junk[1] = targets.boxes[0, 0], targets.boxes[0, 0]
    assignment = TaskAligned(smallest=16).build()(scores, boxes, ANCHORS, targets._replace(boxes=junk))
    assert {box for box, _ in filled(assignment, 0).values()} <= {0, 1, 2}
    assert filled(assignment, 1) == {}


def test_groups_of_images_do_not_change_the_result(monkeypatch):
    scores, boxes = predictions(5, 6)
    targets = random_targets([4, 0, 9, 16, 2], 6)
    whole = TaskAligned().build()(scores, boxes, ANCHORS, targets)
    for pairs in (1, 2 * 16 * len(ANCHORS)):
        monkeypatch.setitem(task_aligned.PAIRS_AT_ONCE, "cpu", pairs)
        parts = TaskAligned().build()(scores, boxes, ANCHORS, targets)
        assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_lifted(dtype):
    scores, boxes = (values.to(dtype) for values in predictions(2, 7))
    targets = random_targets([5, 8], 7)
    assigner = TaskAligned().build()
    half, full = assigner(scores, boxes, ANCHORS, targets), assigner(scores.float(), boxes.float(), ANCHORS, targets)
    assert half.weight.dtype == torch.float32
    assert all(torch.allclose(a, b) for a, b in zip(half, full, strict=True))
