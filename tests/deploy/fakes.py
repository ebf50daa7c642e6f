"""A detector that can be checked by hand: it finds blobs of pure colours, one class a colour."""

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from detkit.detectors.suppress import suppress
from detkit.structures import Predictions

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
NAMES = tuple(COLOURS)


class BlobDetector(nn.Module):
    """Scores grow with size, so that a cut blob is worth less than a whole one; ``batches`` counts what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Predictions:
        self.batches.append(len(images))
        found = [blobs(image.permute(1, 2, 0).numpy()) for image in images]
        length = max(1, *(len(boxes) for boxes, _ in found))
        boxes, scores = torch.zeros(len(images), length, 4), torch.zeros(len(images), length, len(NAMES))
        for row, (seen, labels) in enumerate(found):
            for column, (box, label) in enumerate(zip(seen, labels, strict=True)):
                boxes[row, column] = torch.tensor(box).float()
                scores[row, column, label] = score(box)
        return Predictions(boxes, scores)

    def detect(self, predictions, geometry, confidence, iou, limit):
        return suppress(predictions, geometry, confidence, iou, limit)


def score(box) -> float:
    """From 0.5 up, by the box's size in pixels of the network's input."""
    return 0.5 + min(0.49, (box[2] - box[0]) * (box[3] - box[1]) / 1e5)


def blobs(image: np.ndarray) -> tuple[list, list]:
    boxes, labels = [], []
    for label, colour in enumerate(COLOURS.values()):
        mask = (np.abs(image.astype(int) - colour).max(2) < 40).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for x, y, width, height, _ in stats[1:]:
            boxes.append((x, y, x + width, y + height))
            labels.append(label)
    return boxes, labels


def scene(height: int, width: int, *objects) -> np.ndarray:
    """A black image with objects (colour name, box)."""
    image = np.zeros((height, width, 3), np.uint8)
    for name, (x1, y1, x2, y2) in objects:
        image[y1:y2, x1:x2] = COLOURS[name]
    return image
