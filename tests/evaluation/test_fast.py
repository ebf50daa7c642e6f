"""The fast evaluator against pycocotools: every value of every curve and every match, on inputs that are made to trip it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.evaluation import overlaps
from detkit.evaluation.coco import CocoMetric
from detkit.evaluation.fast import match_by_arrays
from detkit.evaluation.handout import hand_out
from detkit.evaluation.packed import ScoredBoxes
from detkit.evaluation.reference import match_by_pycocotools

from .test_coco import NAMES, random_case

IMAGES, CATEGORIES = (1, 4, 1_000_000_007, 12), (90, 2, 1)
"""Ids with gaps, out of order, one beyond 32 bits of signed pixels."""
SIDES = (0.0, 1.0, 8.0, 16.0, 32.0, 64.0, 96.0, 128.0, 1e5, 3e7)
"""On the borders of COCO's areas, none at all, and more than the largest."""


def equal(truth: dict, found: ScoredBoxes, image_ids: list[int]) -> None:
    (curves, matches), (expected, named) = (match(truth, found, image_ids) for match in (match_by_arrays, match_by_pycocotools))
    for ours, theirs in zip((*curves, *matches), (*expected, *named), strict=True):
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    assert curves.summary() == expected.summary()


def truth_of(images, categories, boxes, crowds, areas) -> dict:
    items = [
        {"id": n + 1, "image_id": i, "category_id": c, "bbox": list(b), "area": a, "iscrowd": int(k)}
        for n, (i, c, b, k, a) in enumerate(zip(images, categories, boxes, crowds, areas, strict=True))
    ]
    return {
        "images": [{"id": i} for i in IMAGES],
        "categories": [{"id": c, "name": str(c)} for c in CATEGORIES],
        "annotations": items,
    }


def nasty(rng: np.random.Generator) -> tuple[dict, ScoredBoxes, list[int]]:
    """A few boxes on a coarse grid, so that overlaps, scores and areas are often equal or exactly on a threshold."""
    images, classes = rng.integers(1, len(IMAGES) + 1), rng.integers(1, len(CATEGORIES) + 1)
    count, claims = rng.integers(0, 15), rng.choice([0, 3, 40, 350])
    sides = rng.choice(SIDES, rng.integers(1, 4))

    def boxes(number):
        return np.concatenate([rng.integers(0, 3, (number, 2)) * rng.choice([1.0, 8.0]), rng.choice(sides, (number, 2))], 1)

    truth_boxes = boxes(count)
    areas = np.where(
        rng.random(count) < 0.5, truth_boxes[:, 2] * truth_boxes[:, 3], rng.choice([0.0, 1024.0, 9216.0, 1e10], count)
    )
    crowds = rng.random(count) < rng.choice([0, 0.3, 1])
    truth = truth_of(
        rng.choice(IMAGES[:images], count).tolist(),
        rng.choice(CATEGORIES[:classes], count).tolist(),
        truth_boxes.tolist(),
        crowds,
        areas.tolist(),
    )
    found_boxes = boxes(claims)
    if count and claims:
        again = rng.random(claims) < 0.6
        found_boxes[again] = truth_boxes[rng.integers(0, count, again.sum())] * rng.choice([1, 1, 0.5, 0.9], (again.sum(), 1))
    found_boxes[rng.random(claims) < 0.02, 2:] *= -1
    found = ScoredBoxes(
        rng.choice([*IMAGES[:images], 5], claims),
        rng.choice([*CATEGORIES[:classes], 3], claims),
        found_boxes,
        rng.choice([0.0, 0.25, 0.5, 0.5 + 1e-16, 1.0, rng.random()], claims),
    )
    scored = rng.choice(IMAGES, rng.integers(1, len(IMAGES) + 1), replace=False).tolist()
    return truth, found, scored * int(rng.integers(1, 3))


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_equals_pycocotools(seed):
    equal(*nasty(np.random.default_rng(seed)))


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_equals_pycocotools_thousands_of_times(seed):
    equal(*nasty(np.random.default_rng(seed)))


def test_pairs_are_looked_at_in_pieces(monkeypatch):
    """The pieces are as small as can be; what they say together is the same."""
    monkeypatch.setattr(overlaps, "PAIRS", 7)
    for seed in range(20):
        equal(*nasty(np.random.default_rng(seed)))


@pytest.mark.parametrize("images", [[], [4], [4, 12]])
def test_nothing_found_and_nothing_to_find(images):
    nobody = ScoredBoxes.concatenate([])
    equal(truth_of([], [], [], [], []), nobody, images)
    equal(truth_of([4], [2], [[0.0, 0.0, 9.0, 9.0]], [False], [81.0]), nobody, images)
    someone = ScoredBoxes(np.array([4]), np.array([2]), np.array([[0.0, 0.0, 9.0, 9.0]]), np.array([0.5]))
    equal(truth_of([], [], [], [], []), someone, images)


def test_a_chain_of_detections_that_each_take_what_the_next_one_wants():
    """Each of 60 likes best the box that the one before it must settle for, so that they are served one after another."""
    boxes = [[3.0 * n, 0.0, 30.0, 30.0] for n in range(61)]
    found = np.array([[3.0 * n + (1.4 if n else 0), 0, 30, 30] for n in range(60)])
    truth = truth_of([4] * 61, [2] * 61, boxes, [False] * 61, [900.0] * 61)
    equal(truth, ScoredBoxes(np.full(60, 4), np.full(60, 2), found, np.linspace(0.9, 0.1, 60)), [4])


def test_handing_out_by_hand():
    """0 takes box 5; 1 would too and settles for 6; 2 wants both and gets none; 3 and 4 share the crowd 7."""
    detections, boxes = np.array([0, 1, 1, 2, 2, 3, 4]), np.array([5, 5, 6, 6, 5, 7, 7])
    given = hand_out(detections, boxes, np.arange(8) == 7)
    assert list(zip(detections[given], boxes[given], strict=True)) == [(0, 5), (1, 6), (3, 7), (4, 7)]


def test_memory_is_bounded():
    """100 detections of one class in front of 2,000 boxes, in 5 images: a million pairs, of which few overlap."""
    import tracemalloc

    rng, images, boxes, claims = np.random.default_rng(0), 5, 2000, 100

    def scattered(number):
        return np.concatenate([rng.uniform(0, 4000, (number, 2)), rng.uniform(5, 50, (number, 2))], 1)

    owners = np.repeat(np.arange(images), boxes)
    truth = truth_of(
        owners.tolist(), [2] * len(owners), scattered(len(owners)).tolist(), [False] * len(owners), [99.0] * len(owners)
    )
    found = ScoredBoxes(
        np.repeat(np.arange(images), claims),
        np.full(images * claims, 2),
        scattered(images * claims),
        rng.random(images * claims),
    )
    tracemalloc.start()
    match_by_arrays(truth, found, list(range(images)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20


@pytest.mark.parametrize(
    ("evaluator", "asked"), [("fast", "coco.match_by_arrays"), ("pycocotools", "reference.match_by_pycocotools")]
)
def test_the_metric_asks_whom_it_is_told_to(evaluator, asked, monkeypatch):
    truth, everything = random_case(np.random.default_rng(0), 3, 4, 10)
    metric = CocoMetric(truth, NAMES, evaluator)
    metric.update(everything, [10, 11, 12])
    assert metric.compute().numbers["AP"] > 0

    def refuse(*_):
        raise RuntimeError("asked")

    monkeypatch.setattr(f"detkit.evaluation.{asked}", refuse)
    with pytest.raises(RuntimeError, match="asked"):
        metric.compute()
