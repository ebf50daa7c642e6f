"""COCO's numbers: against pycocotools used plainly through files, and against cases counted by hand."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detkit.errors import UserError
from detkit.evaluation.coco import ClassResult, CocoMetric, CocoResult, format_table
from detkit.evaluation.confidence import WorkingPoint
from detkit.structures import Detections

NAMES = ("cat", "dog", "鸟")
NUMBERS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def coco(images: int, annotations: list[dict], names=NAMES, ids=(7, 3, 90)) -> dict:
    return {
        "images": [{"id": 10 + i, "file_name": f"{i}.jpg", "width": 640, "height": 480} for i in range(images)],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in zip(ids, names, strict=True)],
    }


def box(number: int, image: int, category: int, bbox, crowd: int = 0) -> dict:
    area = bbox[2] * bbox[3]
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(bbox), "area": area, "iscrowd": crowd}


def found(boxes, scores, labels) -> Detections:
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(labels, dtype=torch.int64),
    )


NOTHING = found([], [], [])


def by_files(ground_truth: dict, metric: CocoMetric, folder) -> list[float]:
    """Return pycocotools' twelve numbers as anybody would get them from two files."""
    (folder / "truth.json").write_text(json.dumps(ground_truth))
    metric.write_results(folder / "results.json")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(folder / "truth.json"))
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist()


def random_case(rng: np.random.Generator, images: int, boxes: int, detections: int) -> tuple[dict, list[Detections]]:
    """Make crowds, ties, boxes of all sizes, found again with noise, with the wrong label or not at all."""
    annotations, everything = [], []
    for image in range(images):
        corner, size = rng.uniform(0, 400, (boxes, 2)), np.exp(rng.uniform(2, 5.5, (boxes, 2)))
        labels = rng.integers(0, 2, boxes)  # the third class has no ground truth
        for position in range(boxes):
            bbox = np.round([*corner[position], *size[position]], 2).tolist()
            crowd = int(rng.random() < 0.15)
            annotations.append(box(len(annotations) + 1, 10 + image, (7, 3)[labels[position]], bbox, crowd))
        chosen = rng.integers(0, boxes, detections) if boxes else np.empty(0, int)
        xyxy = np.concatenate([corner, corner + size], 1)[chosen] + rng.normal(0, 4, (len(chosen), 4))
        given_labels = np.where(rng.random(len(chosen)) < 0.9, labels[chosen], rng.integers(0, 3, len(chosen)))
        everything.append(found(xyxy, np.sort(np.round(rng.random(len(chosen)), 2))[::-1].copy(), given_labels))
    return coco(images, annotations), everything


@pytest.mark.parametrize(
    ("images", "boxes", "detections"), [(12, 6, 20), (3, 2, 1), (2, 5, 250), (1, 1, 1)], ids=["usual", "few", "many", "one"]
)
@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools_through_files(images, boxes, detections, seed, tmp_path):
    truth, everything = random_case(np.random.default_rng(seed), images, boxes, detections)
    metric = CocoMetric(truth, NAMES)
    for start in range(0, images, 5):
        metric.update(everything[start : start + 5], [10 + i for i in range(start, min(start + 5, images))])
    numbers = metric.compute().numbers
    assert list(numbers) == NUMBERS
    assert list(numbers.values()) == by_files(truth, metric, tmp_path)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), images=st.integers(1, 4), boxes=st.integers(1, 8), detections=st.integers(1, 30))
def test_order_of_images_and_batches_does_not_matter(seed, images, boxes, detections):
    rng = np.random.default_rng(seed)
    truth, everything = random_case(rng, images, boxes, detections)
    results = []
    for order in (np.arange(images), rng.permutation(images)):
        metric = CocoMetric(truth, NAMES)
        for i in order:
            metric.update([everything[i]], [10 + int(i)])
        results.append(metric.compute())
    assert results[0] == results[1]


def test_a_perfect_detector_scores_one_and_names_classes():
    truth = coco(2, [box(1, 10, 7, (0, 0, 50, 50)), box(2, 11, 90, (5, 5, 20, 20))])
    metric = CocoMetric(truth, NAMES)
    metric.update([found([[0, 0, 50, 50]], [0.9], [0]), found([[5, 5, 25, 25]], [0.8], [2])], [10, 11])
    result = metric.compute()
    assert result.numbers == dict.fromkeys(NUMBERS, pytest.approx(1.0)) | {"APl": -1, "ARl": -1}
    assert result.images == 2
    assert result.boxes == 2
    assert list(result.classes) == ["dog", "cat", "鸟"]  # in order of category id
    assert result.classes["dog"] == ClassResult(-1, -1, 0)
    one = pytest.approx(1.0)
    assert result.classes["cat"] == ClassResult(one, one, 1, -1, one, -1, one, one, one)


def test_half_found_by_hand():
    """One of two boxes found at IoU 0.8: precision 1 up to recall 0.5, at the seven thresholds 0.50 to 0.80."""
    truth = coco(1, [box(1, 10, 7, (0, 0, 100, 100)), box(2, 10, 7, (300, 300, 100, 100))])
    metric = CocoMetric(truth, NAMES)
    metric.update([found([[0, 0, 100, 80.0001]], [0.9], [0])], [10])
    numbers = metric.compute().numbers
    assert numbers["AP50"] == pytest.approx(51 / 101)
    assert numbers["AP75"] == pytest.approx(51 / 101)
    assert numbers["AP"] == pytest.approx(0.7 * 51 / 101)
    assert numbers["AR100"] == pytest.approx(0.7 * 0.5)


def test_a_false_positive_above_the_hit_halves_precision():
    truth = coco(1, [box(1, 10, 7, (0, 0, 100, 100))])
    metric = CocoMetric(truth, NAMES)
    metric.update([found([[200, 200, 300, 300], [0, 0, 100, 100]], [0.9, 0.8], [0, 0])], [10])
    assert metric.compute().numbers["AP"] == pytest.approx(0.5)


def test_the_101st_detection_of_a_class_does_not_count():
    truth = coco(1, [box(1, 10, 7, (0, 0, 100, 100))])
    for misses, expected in ((99, 1 / 100), (100, 0)):
        metric = CocoMetric(truth, NAMES)
        boxes = [[200, 200, 300, 300]] * misses + [[0, 0, 100, 100]]
        metric.update([found(boxes, np.linspace(0.9, 0.1, misses + 1), [0] * (misses + 1))], [10])
        assert metric.compute().numbers["AP"] == pytest.approx(expected)


def test_detections_in_a_crowd_neither_help_nor_harm():
    truth = coco(1, [box(1, 10, 7, (0, 0, 100, 100)), box(2, 10, 7, (200, 200, 200, 200), crowd=1)])
    metric = CocoMetric(truth, NAMES)
    metric.update([found([[210, 210, 250, 250], [300, 300, 340, 340], [0, 0, 100, 100]], [0.9, 0.8, 0.7], [0, 0, 0])], [10])
    result = metric.compute()
    assert result.numbers["AP"] == pytest.approx(1.0)
    assert result.boxes == 1


def test_no_detections_is_zero_and_no_boxes_is_minus_one():
    truth = coco(1, [box(1, 10, 7, (0, 0, 100, 100))])
    metric = CocoMetric(truth, NAMES)
    metric.update([NOTHING], [10])
    assert metric.compute().numbers["AP"] == 0
    assert metric.results() == []
    metric = CocoMetric(coco(1, []), NAMES)
    metric.update([found([[0, 0, 10, 10]], [0.9], [0])], [10])
    assert metric.compute() == CocoResult(
        dict.fromkeys(NUMBERS, -1), {name: ClassResult(-1, -1, 0) for name in ("dog", "cat", "鸟")}, 1, 0
    )


def test_no_images_scored_at_all():
    result = CocoMetric(coco(3, [box(1, 10, 7, (0, 0, 9, 9))]), NAMES).compute()
    assert (result.numbers["AP"], result.images, result.boxes) == (-1, 0, 0)


def test_surplus_and_repeated_images_do_not_count():
    truth = coco(2, [box(1, 10, 7, (0, 0, 100, 100)), box(2, 11, 7, (0, 0, 100, 100))])
    hit, miss = found([[0, 0, 100, 100]], [0.5], [0]), found([[300, 300, 400, 400]], [0.9], [0])
    metric = CocoMetric(truth, NAMES)
    metric.update([hit, miss], torch.tensor([10, 11]), torch.tensor([True, False]))
    assert metric.compute().images == 1
    metric.update([miss, hit], torch.tensor([10, 11]))
    result = metric.compute()
    assert result.images == 2
    assert result.numbers["AP"] == pytest.approx(1.0)
    assert len(metric.results()) == 2


def test_only_the_images_that_were_scored_are_counted():
    truth = coco(2, [box(1, 10, 7, (0, 0, 100, 100)), box(2, 11, 7, (0, 0, 100, 100))])
    metric = CocoMetric(truth, NAMES)
    metric.update([found([[0, 0, 100, 100]], [0.5], [0])], [10])
    result = metric.compute()
    assert (result.images, result.boxes, result.numbers["AP"]) == (1, 1, pytest.approx(1.0))


def test_labels_find_their_category_by_name_in_any_order():
    truth = coco(1, [box(1, 10, 3, (0, 0, 100, 100))])
    metric = CocoMetric(truth, ("unicorn", "dog"))
    metric.update([found([[0, 0, 100, 100], [0, 0, 100, 100]], [0.9, 0.8], [0, 1])], [10])
    assert metric.compute().classes["dog"].ap == pytest.approx(1.0)
    assert [item["category_id"] for item in metric.results()] == [3]


def test_no_class_in_common_is_an_error():
    with pytest.raises(UserError, match=r"knows unicorn, the ground truth cat, dog, 鸟: no class in common"):
        CocoMetric(coco(1, []), ("unicorn",))


@pytest.mark.parametrize("key", ["images", "categories"])
def test_a_ground_truth_without_images_or_categories_is_an_error(key):
    with pytest.raises(UserError, match=f"no {key}"):
        CocoMetric(coco(1, []) | {key: []}, NAMES)


def test_an_image_that_the_ground_truth_does_not_have_is_an_error():
    with pytest.raises(ValueError, match="image 99 is not in the ground truth"):
        CocoMetric(coco(1, []), NAMES).update([NOTHING], [99])


def test_missing_keys_and_an_annotation_of_id_zero():
    """pycocotools alone takes a match with annotation 0 for a miss."""
    truth = coco(1, [{"id": 0, "image_id": 10, "category_id": 7, "bbox": [0, 0, 50, 50]}])
    metric = CocoMetric(truth, NAMES)
    metric.update([found([[0, 0, 50, 50]], [0.9], [0])], [10])
    numbers = metric.compute().numbers
    assert numbers["AP"] == pytest.approx(1.0)
    assert (numbers["APm"], numbers["APs"]) == (pytest.approx(1.0), -1)
    assert "area" not in truth["annotations"][0], "the caller's dict is left alone"


@pytest.mark.parametrize("bbox", [None, [], [0, 0, float("nan"), 5], [0, 0, 5], "0 0 5 5"])
def test_what_is_no_box_is_not_to_be_found(bbox):
    truth = coco(1, [box(1, 10, 7, (0, 0, 50, 50)), {"id": 2, "image_id": 10, "category_id": 7, "bbox": bbox}])
    metric = CocoMetric(truth, NAMES)
    metric.update([found([[0, 0, 50, 50]], [0.9], [0])], [10])
    assert metric.compute().numbers["AP"] == pytest.approx(1.0)


def test_two_categories_of_one_name_are_one_class():
    truth = coco(1, [box(1, 10, 7, (0, 0, 50, 50)), box(2, 10, 3, (100, 100, 50, 50))], ("cat", "cat", "dog"))
    metric = CocoMetric(truth, ("cat",))
    metric.update([found([[0, 0, 50, 50], [100, 100, 150, 150]], [0.9, 0.8], [0, 0])], [10])
    result = metric.compute()
    assert result.classes["cat"][:3] == (pytest.approx(1.0), pytest.approx(1.0), 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_detections_of_any_precision(dtype):
    metric = CocoMetric(coco(1, [box(1, 10, 7, (0, 0, 64, 64))]), NAMES)
    detections = found([[0, 0, 64, 64]], [0.5], [0])
    metric.update([detections._replace(boxes=detections.boxes.to(dtype), scores=detections.scores.to(dtype))], [10])
    assert metric.compute().numbers["AP"] == pytest.approx(1.0)


def test_reset_forgets():
    metric = CocoMetric(coco(1, [box(1, 10, 7, (0, 0, 64, 64))]), NAMES)
    metric.update([found([[0, 0, 64, 64]], [0.5], [0])], [10])
    assert metric.compute().images == 1
    metric.reset()
    assert metric.compute().images == 0


def test_nothing_is_printed(capfd):
    metric = CocoMetric(coco(1, [box(1, 10, 7, (0, 0, 64, 64))]), NAMES)
    metric.update([found([[0, 0, 64, 64]], [0.5], [0])], [10])
    metric.compute()
    assert capfd.readouterr() == ("", "")


def test_real_ground_truth_against_itself(shared_data, tmp_path):
    """BCCD's own boxes, moved a little: all twelve numbers through files."""
    truth = json.loads((shared_data / "bccd/annotations/instances_val.json").read_text())
    names = [item["name"] for item in truth["categories"]]
    position = {item["id"]: i for i, item in enumerate(truth["categories"])}
    rng = np.random.default_rng(0)
    metric = CocoMetric(truth, names)
    for image in truth["images"]:
        mine = [item for item in truth["annotations"] if item["image_id"] == image["id"]]
        xywh = np.array([item["bbox"] for item in mine]).reshape(-1, 4) + rng.normal(0, 5, (len(mine), 4))
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], 1)
        labels = [position[item["category_id"]] for item in mine]
        metric.update([found(xyxy, np.sort(rng.random(len(mine)))[::-1].copy(), labels)], [image["id"]])
    result = metric.compute()
    assert list(result.numbers.values()) == by_files(truth, metric, tmp_path)
    assert (result.images, result.boxes) == (87, 1137)
    assert np.mean([item.ap for item in result.classes.values()]) == pytest.approx(result.numbers["AP"])
    assert np.mean([item.ap50 for item in result.classes.values()]) == pytest.approx(result.numbers["AP50"])
    assert {name: item.boxes for name, item in result.classes.items()} == {"RBC": 967, "WBC": 87, "Platelets": 83}


def test_the_table():
    result = CocoResult(
        dict.fromkeys(NUMBERS, 0.5) | {"APl": -1, "AP": 0.1236},
        {"red blood cell": ClassResult(0.25, 0.5, 1000, ap_small=0.125, f1=0.75), "鸟": ClassResult(-1, -1, 0)},
        87,
        1000,
        point=WorkingPoint(0.25, 0.75, 0.5, 0.6),
    )
    assert format_table(result).splitlines() == [
        "87 images, 1000 boxes",
        "",
        "   AP   AP50   AP75    APs    APm  APl",
        "0.124  0.500  0.500  0.500  0.500    -",
        "",
        "  AR1   AR10  AR100    ARs    ARm    ARl",
        "0.500  0.500  0.500  0.500  0.500  0.500",
        "",
        "precision 0.750, recall 0.500, F1 0.600 at the best confidence, 0.250, and IoU 0.50",
        "",
        "class           boxes     AP   AP50    APs  APm  APl  precision  recall     F1",
        "red blood cell   1000  0.250  0.500  0.125    -    -          -       -  0.750",
        "鸟                  0      -      -      -    -    -          -       -      -",
    ]
