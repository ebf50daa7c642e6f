"""Precision, recall, F1, confusion and worst images against plain counting, box by box and confidence by confidence."""

import numpy as np
import pytest

from detkit.evaluation.coco import CocoMetric
from detkit.evaluation.confidence import CONFIDENCES, ConfidenceCurves
from detkit.evaluation.matches import Matches

from .test_coco import NAMES, box, coco, found, random_case

ORDER = ("dog", "cat", "鸟")
"""In order of category id."""


def scored(truth, everything, names=NAMES):
    metric = CocoMetric(truth, names)
    metric.update(everything, [10 + i for i in range(len(everything))])
    return metric.compute(), metric.diagnosis()


def iou(one, other, crowd):
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    both = max(0.0, right - left) * max(0.0, bottom - top)
    mine, theirs = ((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other))
    return both / (mine if crowd else mine + theirs - both)


def count(truth, everything, confidence):
    """Return [right, false, boxes] by class name of the detections from a confidence up, matched plainly one after another.

    As for pycocotools, detections of negative area are not false.
    """
    ids = {item["id"]: item["name"] for item in truth["categories"]}
    totals = {name: [0, 0, 0] for name in ids.values()}
    for i, detections in enumerate(everything):
        for label, name in enumerate(NAMES):
            mine = [a for a in truth["annotations"] if a["image_id"] == 10 + i and ids[a["category_id"]] == name]
            corners = [(x, y, x + w, y + h) for x, y, w, h in (a["bbox"] for a in mine)]
            free = [not a["iscrowd"] for a in mine]
            totals[name][2] += sum(free)
            claims = [k for k in range(len(detections.scores)) if int(detections.labels[k]) == label]
            claims = sorted(claims, key=lambda k: -float(detections.scores[k]))[:100]
            for k in claims:
                if float(detections.scores[k]) < confidence:
                    break
                x, y, right, bottom = detections.boxes[k].double().tolist()
                overlaps = [iou((x, y, right, bottom), c, a["iscrowd"]) for c, a in zip(corners, mine, strict=True)]
                best = max(
                    (j for j in range(len(mine)) if free[j] and overlaps[j] >= 0.5), key=lambda j: overlaps[j], default=None
                )
                if best is not None:
                    free[best] = False
                    totals[name][0] += 1
                elif (right - x) * (bottom - y) >= 0 and not any(
                    a["iscrowd"] and o >= 0.5 for a, o in zip(mine, overlaps, strict=True)
                ):
                    totals[name][1] += 1
    return totals


@pytest.mark.parametrize(("images", "boxes", "detections"), [(8, 6, 20), (3, 2, 1), (2, 5, 250), (2, 0, 5), (3, 4, 0)])
def test_equals_plain_counting(images, boxes, detections):
    truth, everything = random_case(np.random.default_rng(boxes), images, boxes, detections)
    result, diagnosis = scored(truth, everything)
    if not boxes:
        assert result.point is diagnosis is None
        return
    for position in (0, 5, 100, 333, 555, 900, 1000, round(result.point.confidence * 1000)):
        for k, name in enumerate(ORDER):
            right, false, wanted = count(truth, everything, CONFIDENCES[position])[name]
            seen = [float(values[k, position]) for values in diagnosis.curves]
            if not wanted:
                assert np.isnan(seen).all()
                continue
            precision = right / (right + false) if right + false else np.nan
            expected = [precision, right / wanted, 2 * right / (right + false + wanted)]
            assert seen == pytest.approx(expected, nan_ok=True), (name, position)
    best = np.nanmean(diagnosis.curves.f1, axis=0)
    assert result.point.f1 == pytest.approx(best.max())
    assert result.point.confidence == CONFIDENCES[best.argmax()]


def test_the_best_confidence_by_hand():
    """Hits at 0.9 and 0.5, a false one at 0.75, one of three boxes never found: all three are worth keeping."""
    truth = coco(1, [box(n, 10, 7, (100 * n, 0, 50, 50)) for n in (1, 2, 3)])
    detections = found([[100, 0, 150, 50], [0, 300, 9, 309], [200, 0, 250, 50]], [0.9, 0.75, 0.5], [0, 0, 0])
    result, diagnosis = scored(truth, [detections])
    assert result.point == (0.0, pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert diagnosis.curves.precision[1, [500, 501, 750, 751, 899, 901]] == pytest.approx(
        [2 / 3, 1 / 2, 1 / 2, 1, 1, np.nan], nan_ok=True
    )
    assert result.classes["cat"][-3:] == result.point[1:]
    assert result.scalars()["F1"] == result.point.f1 and result.scalars()["AP"] == result.numbers["AP"]


def test_a_class_that_is_never_detected_lowers_recall_and_leaves_precision_alone():
    truth = coco(1, [box(1, 10, 7, (0, 0, 50, 50)), box(2, 10, 3, (100, 0, 50, 50))])
    result, diagnosis = scored(truth, [found([[0, 0, 50, 50]], [0.5], [0])])
    assert result.point[1:] == (1.0, 0.5, 0.5)
    assert result.classes["dog"][-3:] == (-1, 0, 0)
    assert np.isnan(diagnosis.curves.recall[2]).all(), "no box of the third class"
    assert diagnosis.precision_recall.mean(1).tolist() == pytest.approx([0, 1, np.nan], nan_ok=True)


def test_golden_confusion():
    """Right, a cat taken for a dog, a dog missed, two false ones, one in a crowd and one below the best confidence."""
    truth = coco(
        2,
        [
            box(1, 10, 7, (0, 0, 50, 50)),
            box(2, 10, 7, (100, 0, 50, 50)),
            box(3, 11, 3, (0, 0, 50, 50)),
            box(4, 11, 7, (200, 200, 100, 100), crowd=1),
            box(5, 11, 3, (100, 100, 50, 50)),
        ],
    )
    first = found([[0, 0, 50, 50], [100, 0, 150, 48], [300, 0, 310, 10]], [0.7, 0.92, 0.8], [0, 1, 0])
    second = found(
        [[100, 100, 150, 150], [210, 210, 230, 230], [400, 0, 410, 10], [410, 0, 420, 10], [420, 0, 430, 10]],
        [0.75, 0.9, 0.1, 0.1, 0.05],
        [1, 0, 2, 0, 0],
    )
    result, diagnosis = scored(truth, [first, second])
    assert diagnosis.names == ORDER
    assert 0.1 < result.point.confidence < 0.7, "false ones below"
    assert diagnosis.confusion.tolist() == [[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert [(image.file, image.verdicts) for image in diagnosis.missed] == [
        ("0.jpg", ("missed", "false", "false", "right")),
        ("1.jpg", ("missed", "right")),
    ]
    assert [image.file for image in diagnosis.false] == ["0.jpg"]
    worst = diagnosis.missed[0]
    assert worst.classes == ("cat", "dog", "cat", "cat")
    assert worst.boxes.tolist() == [[100, 0, 150, 50], [100, 0, 150, 48], [300, 0, 310, 10], [0, 0, 50, 50]]
    assert worst.scores.tolist() == pytest.approx([np.nan, 0.92, 0.8, 0.7], nan_ok=True)


@pytest.mark.parametrize("seed", range(3))
def test_confusion_adds_up(seed):
    truth, everything = random_case(np.random.default_rng(seed), 10, 6, 20)
    result, diagnosis = scored(truth, everything)
    for k, name in enumerate(ORDER):
        right, false, wanted = count(truth, everything, result.point.confidence)[name]
        assert diagnosis.confusion[k].sum() == wanted
        assert diagnosis.confusion[k, k] == right
        assert diagnosis.confusion[:, k].sum() == right + false
    counts = [image.count("missed") for image in diagnosis.missed]
    assert counts == sorted(counts, reverse=True) and sum(counts) == diagnosis.confusion[:3].sum() - np.trace(
        diagnosis.confusion
    )
    assert sum(image.count("false") for image in diagnosis.false) == sum(
        count(truth, everything, result.point.confidence)[name][1] for name in ORDER
    )


def test_nothing_is_known_before_computing_or_after_further_images():
    metric = CocoMetric(coco(2, [box(1, 10, 7, (0, 0, 50, 50))]), NAMES)
    assert metric.diagnosis() is None
    metric.update([found([[0, 0, 50, 50]], [0.5], [0])], [10])
    metric.compute()
    assert metric.diagnosis() is not None
    metric.update([found([], [], [])], [11])
    assert metric.diagnosis() is None


def test_half_a_million_detections_take_little_memory():
    import tracemalloc

    rng, number, classes = np.random.default_rng(0), 500_000, 80
    matches = Matches(rng.integers(-1, 2, number), rng.random(number) < 0.9)
    labels, scores = rng.integers(0, classes, number), rng.random(number)
    tracemalloc.start()
    curves = ConfidenceCurves.of(matches, scores, labels, np.full(classes, 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert curves.recall.shape == (classes, 1001) and peak < 64 * 2**20
