"""From dense predictions to detections by non-maximum suppression."""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.structures import Detections, Geometry, Predictions

CANDIDATES = 30_000
"""Most candidates of an image that are compared with one another; the best ones, far more than detections are kept."""


@torch.no_grad()
def suppress(
    predictions: Predictions, geometry: Geometry | None, confidence: float, iou: float, limit: int
) -> list[Detections]:
    """Return the detections of each image, best first; see `detkit.detectors.yolo.YOLODetector.detect`."""
    found = []
    for index, table in enumerate(predictions.scores):
        rows, labels = (table > confidence).nonzero(as_tuple=True)
        scores, boxes = table[rows, labels], predictions.boxes[index, rows]
        kept = survivors(boxes, scores, labels, iou, limit)
        boxes = boxes[kept] if geometry is None else geometry.to_original(boxes[kept], index)
        extras = {name: extra[index, rows[kept]] for name, extra in predictions.extras.items()}
        found.append(Detections(boxes, scores[kept], labels[kept], extras=extras))
    return found


def survivors(boxes: Tensor, scores: Tensor, labels: Tensor, iou: float, limit: int) -> Tensor:
    """Return the positions of the best candidates (N,) that no better one of their class suppresses, best first."""
    from torchvision.ops import batched_nms  # takes seconds to import; `--print` must not wait for it

    if len(scores) <= CANDIDATES:
        return batched_nms(boxes, scores, labels, iou)[:limit]
    best = scores.topk(CANDIDATES).indices
    return best[batched_nms(boxes[best], scores[best], labels[best], iou)[:limit]]
