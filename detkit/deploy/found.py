"""What a predictor returns for an image: objects that print, draw and convert."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from torch import Tensor

from detkit.boxes import lift
from detkit.data.images import load_image
from detkit.drawing import draw
from detkit.errors import UserError
from detkit.structures import Detections

ROWS = 20
"""Objects that are printed; more are counted."""


class Arrays(NamedTuple):
    """Objects as numpy arrays.

    Attributes:
        boxes: (N, 4) xyxy pixels.
        scores: (N,) in [0, 1].
        labels: (N,) int64.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Found:
    """The objects found in one image, best first; tensors are on the host and in single precision at least.

    ``len(found)`` counts them; ``found[0]``, ``found[:5]`` and ``found[found.scores > 0.5]`` select some; ``print(found)``
    shows a table.

    Attributes:
        boxes: (N, 4) xyxy pixels of the image that was given.
        scores: (N,) in [0, 1].
        labels: (N,) int64.
        names: class names by label.
        extras: further per-object tensors (N, ...).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    names: tuple[str, ...]
    extras: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, detections: Detections, names: tuple[str, ...]) -> Found:
        """Bring a detector's detections to the host."""
        boxes, scores, labels = (lift(value.detach().cpu()) for value in detections[:3])
        return cls(boxes, scores, labels, names, {name: value.detach().cpu() for name, value in detections.extras.items()})

    def __len__(self) -> int:
        """Return the number of objects."""
        return len(self.scores)

    def __getitem__(self, keep: SupportsIndex | slice | Tensor | np.ndarray) -> Found:
        """Return some of the objects: one by its number, or those of a slice, a mask or indices."""
        if isinstance(keep, SupportsIndex) and not getattr(keep, "ndim", 0):
            number = range(len(self))[keep]  # raises where there is none, which also ends a loop over the objects
            keep = slice(number, number + 1)
        extras = {name: values[keep] for name, values in self.extras.items()}
        return Found(self.boxes[keep], self.scores[keep], self.labels[keep], self.names, extras)

    def class_names(self) -> list[str]:
        """Return the class name of each object."""
        return [self.names[label] for label in self.labels.tolist()]

    def counts(self) -> dict[str, int]:
        """Return how many objects there are of each class, the most frequent class first."""
        return dict(Counter(self.class_names()).most_common())

    def __repr__(self) -> str:
        """Return the counts, on one line."""
        return f"<Found: {self._headline()}>"

    def __str__(self) -> str:
        """Return a table: the counts, then a row an object."""
        if not len(self):
            return self._headline()
        lines = [self._headline(), f"{'score':>5} {'x1':>8} {'y1':>8} {'x2':>8} {'y2':>8}  class"]
        for item in self[:ROWS].to_dicts():
            box = " ".join(f"{value:8.1f}" for value in item["box"])
            lines.append(f"{item['score']:5.2f} {box}  {item['name']}")
        if len(self) > ROWS:
            lines.append(f"... and {len(self) - ROWS} more")
        return "\n".join(lines)

    def draw(self, image: np.ndarray | str | Path) -> np.ndarray:
        """Return a copy (H, W, 3) uint8 RGB of the image (such an array, or a file) with boxes, class names and scores."""
        pixels = image if isinstance(image, np.ndarray) else load_image(image)
        return draw(pixels, self.boxes.numpy(), self.labels.numpy(), self.names, self.scores.numpy())

    def numpy(self) -> Arrays:
        """Return numpy arrays: ``boxes, scores, labels = found.numpy()``."""
        return Arrays(self.boxes.numpy(), self.scores.numpy(), self.labels.numpy())

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return plain data, an object each: ``{"box": [x1, y1, x2, y2], "score": 0.9, "label": 0, "name": "person"}``."""
        rows = zip(self.boxes.tolist(), self.scores.tolist(), self.labels.tolist(), self.class_names(), strict=True)
        return [{"box": box, "score": score, "label": label, "name": name} for box, score, label, name in rows]

    def to_supervision(self) -> Any:
        """Return ``supervision.Detections``, with class names in its ``data``.

        Raises:
            UserError: the package supervision is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            if error.name != "supervision":
                raise
            raise UserError("to_supervision needs the package supervision; write `pip install supervision`") from None
        return supervision.Detections(
            xyxy=self.boxes.numpy().astype(np.float32),
            confidence=self.scores.numpy().astype(np.float32),
            class_id=self.labels.numpy(),
            data={"class_name": np.array(self.class_names(), dtype=str)},
        )

    def _headline(self) -> str:
        """Return ``3 objects: 2 person, 1 car``."""
        if not len(self):
            return "no objects"
        classes = ", ".join(f"{count} {name}" for name, count in self.counts().items())
        return f"{len(self)} object{'s' if len(self) > 1 else ''}: {classes}"
