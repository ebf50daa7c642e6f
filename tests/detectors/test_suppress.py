import pytest
import torch

from detkit.detectors import suppress as module
from detkit.detectors.suppress import suppress
from detkit.structures import Geometry, Predictions


def predictions(boxes, scores, **extras):
    return Predictions(torch.tensor([boxes], dtype=torch.float32), torch.tensor([scores]), extras)


def slow_suppress(boxes, scores, confidence, iou, limit):
    """Return (row, label) of what is kept in one image, plainly written."""
    order = sorted(
        ((float(scores[i, c]), i, c) for i in range(len(boxes)) for c in range(scores.shape[1]) if scores[i, c] > confidence),
        key=lambda item: -item[0],
    )

    def overlap(a, b):
        w = min(a[2], b[2]) - max(a[0], b[0])
        h = min(a[3], b[3]) - max(a[1], b[1])
        both = max(0.0, w) * max(0.0, h)
        return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

    kept = []
    for _, i, c in order:
        if all(c != k or overlap(boxes[i].tolist(), boxes[j].tolist()) <= iou for j, k in kept):
            kept.append((i, c))
    return kept[:limit]


@pytest.mark.parametrize("seed", range(4))
def test_equals_the_plain_loop(seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(2, 40, 2, generator=generator) * 60
    boxes = torch.cat((corners, corners + 5 + torch.rand(2, 40, 2, generator=generator) * 40), -1)
    scores = torch.rand(2, 40, 3, generator=generator)
    row = torch.arange(40.0).expand(2, 40)
    found = suppress(Predictions(boxes, scores, {"row": row}), None, 0.3, 0.4, 20)
    for index, detections in enumerate(found):
        kept = slow_suppress(boxes[index], scores[index], 0.3, 0.4, 20)
        assert list(zip(detections.extras["row"].tolist(), detections.labels.tolist(), strict=True)) == kept
        assert torch.equal(detections.boxes, boxes[index, [i for i, _ in kept]])
        assert torch.equal(detections.scores, torch.stack([scores[index, i, c] for i, c in kept]))


def test_a_box_counts_for_every_class_and_classes_do_not_suppress_one_another():
    found = suppress(predictions([[0, 0, 10, 10], [0, 0, 10, 10]], [[0.9, 0.5], [0.8, 0.6]]), None, 0.25, 0.7, 300)
    assert found[0].labels.tolist() == [0, 1]
    assert found[0].scores.tolist() == pytest.approx([0.9, 0.6])


def test_nothing_found_is_an_empty_detection():
    found = suppress(predictions([[0, 0, 10, 10]], [[0.1, 0.2]]), None, 0.25, 0.7, 300)
    assert found[0].boxes.shape == (0, 4) and len(found[0].scores) == len(found[0].labels) == 0


def test_boxes_return_to_the_original_image():
    geometry = Geometry(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.0, 8.0]]), torch.tensor([[40, 100]]))
    found = suppress(predictions([[10, 18, 60, 90]], [[0.9]]), geometry, 0.25, 0.7, 300)
    assert found[0].boxes.tolist() == [[20, 20, 100, 40]]


def test_the_best_candidates_are_compared_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(module, "CANDIDATES", 3)
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(5)]
    found = suppress(predictions(boxes, [[0.5], [0.9], [0.3], [0.8], [0.7]]), None, 0.25, 0.7, 300)
    assert found[0].scores.tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert found[0].boxes[:, 0].tolist() == [20, 60, 80]
