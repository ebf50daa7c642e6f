"""Prediction: images in, detections in original pixels out; annotated pictures and JSON for files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from detkit.data.images import load_image, sample_of
from detkit.data.resize import fit
from detkit.data.workers import collate
from detkit.deploy.load import load_detector
from detkit.deploy.sources import Frame, ImageSource, Skipped
from detkit.drawing import draw_detections, save_picture
from detkit.errors import UserError
from detkit.parts import Detector
from detkit.structures import Detections

PICTURES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
"""Formats that annotated pictures keep; others become JPEG."""
RESULTS = "predictions.json"


class Predictor:
    """A detector with all that it takes to use it on images: class names, input size, thresholds.

    Images are resized as in evaluation, a batch at a time, and detections come back in the pixels of the original image.
    """

    def __init__(
        self,
        detector: Detector,
        names: Sequence[str],
        shape: tuple[int, int] = (640, 640),
        resize: Literal["letterbox", "stretch"] = "letterbox",
        *,
        confidence: float = 0.25,
        iou: float = 0.7,
        limit: int = 300,
        batch: int = 8,
        device: str | torch.device | None = None,
    ) -> None:
        """Take a detector; it is moved to the device and put in evaluation mode.

        Args:
            detector: with trained weights.
            names: class names by label.
            shape: input (height, width) in pixels, multiples of 32.
            resize: as in the training of the detector.
            confidence: least score of a detection.
            iou: overlap above which the worse of two boxes of a class is dropped (YOLO).
            limit: most detections of an image.
            batch: images that go through the network together.
            device: None for the GPU where there is one, else the CPU.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.detector = detector.eval().to(self.device)
        self.names = tuple(names)
        self.shape, self.resize = shape, resize
        self.confidence, self.iou, self.limit = confidence, iou, limit
        self.batch = batch

    @classmethod
    def from_checkpoint(cls, path: str | Path, **options: Any) -> Predictor:
        """Return the predictor of a checkpoint, fused, with the input size it was trained at.

        Args:
            path: checkpoint file.
            options: any of the constructor's, such as ``confidence=0.5``.

        Raises:
            UserError: it is no checkpoint that can be used.
        """
        loaded = load_detector(path)
        data = loaded.experiment.data
        return cls(loaded.detector.fuse(), loaded.names, **{"shape": data.shape, "resize": data.resize} | options)

    def __call__(self, images: np.ndarray | str | Path | Iterable[np.ndarray | str | Path]) -> list[Detections]:
        """Return the detections of each image, best first, in its own pixels.

        Args:
            images: one or several, each a (H, W, 3) uint8 RGB array or the path of an image file.

        Raises:
            UserError: an image cannot be read.
        """
        several = [images] if isinstance(images, np.ndarray | str | Path) else images
        frames = (Frame("", item if isinstance(item, np.ndarray) else load_image(item)) for item in several)
        return [detections for _, detections in self.stream(frames)]

    def stream(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Detections]]:
        """Yield each frame with its detections; frames are taken a batch at a time, so that a source may have no end."""
        remaining = iter(frames)
        while chunk := list(islice(remaining, self.batch)):
            yield from zip(chunk, self._detect([frame.image for frame in chunk]), strict=True)

    @torch.inference_mode()
    def _detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        batch = collate([fit(sample_of(image), self.shape, self.resize) for image in images])
        predictions = self.detector(batch.images.to(self.device))
        found = self.detector.detect(predictions, batch.geometry, self.confidence, self.iou, self.limit)
        return [_on_host(item, self.names) for item in found]


class Summary(NamedTuple):
    """What `predict_sources` did.

    Attributes:
        images: pictures written.
        boxes: detections in all of them.
        skipped: files that could not be read.
        results: the JSON file.
    """

    images: int
    boxes: int
    skipped: tuple[Skipped, ...]
    results: Path


def predict_sources(predictor: Predictor, source: ImageSource, output: Path) -> Summary:
    """Write an annotated picture for each image of ``source``, and ``predictions.json`` with all detections.

    Pictures keep their names, with subfolders. If it is interrupted, the JSON holds what was done so far. A bar shows the
    progress of anything longer than two seconds.

    Raises:
        UserError: the pictures would replace the images, the output cannot be written, or no image can be read.
    """
    if output.resolve() == source.root.resolve():
        raise UserError(f"the pictures would replace the images in {output}; give another folder for them")
    records: list[dict[str, Any]] = []
    frames = tqdm(source, desc="predict", unit="image", delay=2, disable=None)
    try:
        for frame, found in predictor.stream(frames):
            save_picture(_picture(output, frame.name), draw_detections(frame.image, found))
            records.append(record(frame, found))
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror or error}") from None
    finally:
        if records:
            lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in records)
            (output / RESULTS).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    if not records:
        name, reason = source.skipped[0]
        raise UserError(f"none of the {len(source)} images in {source.root} can be read; {name}: {reason}")
    boxes = sum(len(item["detections"]) for item in records)
    return Summary(len(records), boxes, tuple(source.skipped), output / RESULTS)


def record(frame: Frame, found: Detections) -> dict[str, Any]:
    """Return the detections of a frame as plain data: what is written as JSON."""
    height, width = frame.image.shape[:2]
    rows = zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True)
    detections = [
        {"box": [round(value, 2) for value in box], "score": round(score, 4), "label": label, "name": found.names[label]}
        for box, score, label in rows
    ]
    return {"file": frame.name, "width": width, "height": height, "detections": detections}


def _on_host(found: Detections, names: tuple[str, ...]) -> Detections:
    extras = {name: values.cpu() for name, values in found.extras.items()}
    return Detections(found.boxes.cpu(), found.scores.cpu(), found.labels.cpu(), names, extras)


def _picture(output: Path, name: str) -> Path:
    """Return where the annotated picture of a frame goes."""
    path = output / name
    return path if path.suffix.lower() in PICTURES else path.with_name(path.name + ".jpg")
