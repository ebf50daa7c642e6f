"""Detectors that grow from one with weights, through ``init``; used by tests and by ``benchmarks/inserts.py``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from detkit.data.spec import Data
from detkit.experiment import Experiment, Init
from detkit.parts import Detector, DetectorSpec
from detkit.train.transplant import transplant
from detkit.weights.report import Report
from detkit.zoo import rtdetr, yolo11, yolov8
from tests.networks import scrambled

PUBLISHED: Mapping[str, Callable[..., DetectorSpec]] = {
    "YOLOv8n": lambda **slots: yolov8("n", **slots),
    "YOLO11n": lambda **slots: yolo11("n", **slots),
    "RT-DETR-R18": lambda **slots: rtdetr("r18", **slots),
}
LEVELS = ("c3", "c4", "c5", "p3", "p4", "p5")
"""That all of them read and give."""


class Original(NamedTuple):
    """A detector whose every tensor was drawn, and the file of its weights."""

    detector: Detector
    file: Path
    num_classes: int

    @classmethod
    def of(cls, model: DetectorSpec, num_classes: int, file: Path) -> "Original":
        """Draw the weights and write them."""
        torch.manual_seed(0)
        detector = scrambled(model.build(num_classes)).eval()
        torch.save(detector.state_dict(), file)
        return cls(detector, file, num_classes)

    def carried_into(self, model: DetectorSpec, side: int = 64, **init: object) -> tuple[Detector, Report]:
        """Return a new detector with what fits of the weights, in evaluation, and the report."""
        made = Experiment(model=model, data=Data(size=side), init=Init(weights=str(self.file), **init))
        torch.manual_seed(1)
        detector = model.build(self.num_classes)
        [found] = transplant(detector, made, self.num_classes)
        return detector.eval(), found.report


@torch.no_grad()
def difference(one: Detector, other: Detector, images: Tensor) -> float:
    """Return the largest difference of what two detectors put out for an evaluation: boxes and scores."""
    pairs = zip(one(images)[:2], other(images)[:2], strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)
