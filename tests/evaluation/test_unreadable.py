"""Images that could not be read: named, not scored, and no result where they are the most."""

import pytest

from detkit.errors import UserError
from detkit.evaluation.coco import CocoMetric, format_table

from .test_coco import box, coco, found

TRUTH = coco(4, [box(1, 10, 7, (10, 10, 50, 50)), box(2, 11, 7, (10, 10, 50, 50))])
FOUND = found([[10, 10, 60, 60]], [0.9], [0])


def metric_of(*scored):
    metric = CocoMetric(TRUTH, ("cat", "dog", "鸟"))
    metric.update([FOUND] * len(scored), range(10, 10 + len(scored)), scored)
    return metric


def test_they_are_named_and_their_boxes_do_not_count():
    result = metric_of(True, False, True).compute()
    assert (result.images, result.boxes, result.unreadable) == (2, 1, ("1.jpg",))
    assert format_table(result).splitlines()[:2] == ["2 images, 1 boxes", "1 image could not be read: 1.jpg"]


def test_a_surplus_image_that_is_scored_elsewhere_is_none():
    metric = metric_of(True, True)
    metric.update([FOUND], [10], [False])
    assert metric.compute().unreadable == ()


def test_where_most_are_gone_there_is_no_number():
    with pytest.raises(UserError, match=r"^2 of the 3 images to score cannot be read, for example 1\.jpg"):
        metric_of(True, False, False).compute()
