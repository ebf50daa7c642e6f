"""COCO's evaluation by detkit beside pycocotools, in one run: 5,000 images, 80 classes, 36,000 boxes, 500,000 detections.

    OMP_NUM_THREADS=2 python benchmarks/coco.py [--rounds 3]

Both start from packed arrays of detections and a COCO dict and end with curves and matches: dicts and indices that
pycocotools needs count, and so do the arrays that detkit makes of the dict. Where hotcoco is installed, it is timed too; its
time is without matches, as it hands them out only as dicts of Python lists, which takes half a minute.
"""

import argparse
import time
from itertools import pairwise
from statistics import median

import numpy as np
import torch

from detkit.evaluation.coco import CocoMetric
from detkit.evaluation.fast import match_by_arrays
from detkit.evaluation.packed import ScoredBoxes
from detkit.evaluation.reference import match_by_pycocotools
from detkit.structures import Detections

IMAGES, CLASSES, BOXES, EACH, BATCH, SIZE = 5000, 80, 36_000, 100, 16, 640


def scene(rng: np.random.Generator) -> tuple[dict, list[Detections]]:
    """Images of one to five classes, frequent and rare ones; most detections have the class of the box that they are near."""
    image_ids = np.sort(rng.choice(600_000, IMAGES, replace=False)) + 1
    categories = np.sort(rng.choice(91, CLASSES, replace=False)) + 1
    often = 1 / np.arange(1, CLASSES + 1) ** 0.8
    kinds = [rng.choice(CLASSES, rng.integers(1, 6), p=often / often.sum()) for _ in range(IMAGES)]
    owners = np.sort(rng.integers(0, IMAGES, BOXES))
    labels = np.array([rng.choice(kinds[i]) for i in owners])
    extents = np.exp(rng.uniform(2, 5.8, (BOXES, 2)))
    boxes = np.round(np.concatenate([rng.random((BOXES, 2)) * (SIZE - extents), extents], 1), 2)
    crowds = rng.random(BOXES) < 0.012
    annotations = [
        {"id": n, "image_id": int(image_ids[owner]), "category_id": int(categories[label]), "bbox": box, "iscrowd": int(crowd)}
        for n, (owner, label, box, crowd) in enumerate(zip(owners, labels, boxes.tolist(), crowds, strict=True))
    ]
    truth = {
        "images": [{"id": number} for number in image_ids.tolist()],
        "categories": [{"id": number, "name": str(number)} for number in categories.tolist()],
        "annotations": annotations,
    }
    starts = np.searchsorted(owners, np.arange(IMAGES + 1))
    xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return truth, [detections(rng, xyxy[a:b], labels[a:b]) for a, b in pairwise(starts)]


def detections(rng: np.random.Generator, boxes: np.ndarray, labels: np.ndarray) -> Detections:
    """The boxes of an image again and again, moved a little or much, best first; anything where it has none."""
    chosen = rng.integers(0, max(len(boxes), 1), EACH)
    near = boxes[chosen] if len(boxes) else np.tile([10.0, 10, 60, 60], (EACH, 1))
    extents = np.tile(near[:, 2:] - near[:, :2], 2)
    near = near + rng.normal(0, 0.5, (EACH, 4)) * extents * np.exp(rng.uniform(-4, 0.5, (EACH, 1)))
    named = (labels[chosen] if len(boxes) else rng.integers(0, CLASSES, EACH), rng.integers(0, CLASSES, EACH))
    return Detections(
        torch.from_numpy(
            np.concatenate([np.minimum(near[:, :2], near[:, 2:]), np.maximum(near[:, :2], near[:, 2:])], 1)
        ).float(),
        torch.from_numpy(np.sort(rng.random(EACH) ** 3)[::-1].copy()).float(),
        torch.from_numpy(np.where(rng.random(EACH) < 0.6, *named)),
    )


def by_hotcoco(truth: dict, found: ScoredBoxes, image_ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    import hotcoco

    dataset = hotcoco.COCO(truth)
    columns = (found.image_ids[:, None], found.boxes, found.scores[:, None], found.category_ids[:, None])
    evaluation = hotcoco.COCOeval(dataset, dataset.load_res(np.concatenate(columns, 1)), "bbox")
    evaluation.params.img_ids = image_ids
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"], evaluation.eval["recall"]


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def metric_of(truth: dict, everything: list[Detections]) -> CocoMetric:
    """The metric as validation fills it, batch by batch."""
    metric = CocoMetric(truth, [item["name"] for item in truth["categories"]])
    ids = [item["id"] for item in truth["images"]]
    for start in range(0, IMAGES, BATCH):
        metric.update(everything[start : start + BATCH], ids[start : start + BATCH])
    return metric


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    truth, everything = scene(np.random.default_rng(0))
    metric = metric_of(truth, everything)
    print(f"update, all batches: {seconds(lambda: metric_of(truth, everything)):.2f} s")
    print(f"compute: {seconds(metric.compute):.2f} s, diagnosis {seconds(metric.diagnosis):.2f} s")
    found, image_ids, _ = metric._gather()
    words = metric.ground_truth, found, image_ids
    evaluators = {"pycocotools": match_by_pycocotools, "detkit": match_by_arrays}
    try:
        import hotcoco  # noqa: F401

        evaluators["hotcoco"] = by_hotcoco
    except ImportError:
        print("hotcoco is not installed")
    times = {name: [] for name in evaluators}
    for turn in range(2 * rounds + 1):  # pycocotools once, in the middle
        for name in ["pycocotools"] if turn == rounds else [name for name in evaluators if name != "pycocotools"]:
            times[name].append(seconds(lambda name=name: evaluators[name](*words)))
    reference = times.pop("pycocotools")[0]
    print(f"pycocotools {reference:.1f} s")
    for name, taken in times.items():
        print(f"{name:11} {median(taken):.2f} s, {reference / median(taken):.0f} x")


if __name__ == "__main__":
    main()
