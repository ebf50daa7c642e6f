"""Cases about heads: what they put out is what their criterion and decoding read."""

from __future__ import annotations

from typing import Any

from detkit.checks.case import Broken
from detkit.checks.subject import MapSubject, Size
from detkit.checks.subjects import NUM_CLASSES
from detkit.checks.training import check_gradients
from detkit.structures import DenseOutput, QueryOutput


def puts_out_its_type(subject: MapSubject) -> None:
    """The raw output is of the declared type, with its shapes, at all sizes."""
    module, declared = subject.scrambled().eval(), subject.spec.gives  # type: ignore[attr-defined]
    for size in subject.sizes:
        raw = module(*subject.arguments(module, subject.maps(2, size)))
        if not isinstance(raw, tuple) or not hasattr(raw, "_fields"):
            raise Broken(f"it puts out a {type(raw).__name__}", "return a NamedTuple of tensors; torch.export passes it on")
        if declared is not None and not isinstance(raw, declared):
            raise Broken(
                f"it puts out a {type(raw).__name__} and declares gives = {declared.__name__}", "declare what it puts out"
            )
        for name, shape in owed_shapes(raw, subject, size).items():
            found = tuple(getattr(raw, name).shape)
            if found != shape:
                raise Broken(f"{name} is {found} where {type(raw).__name__} has {shape}", "detkit/structures.py has the shapes")


def owed_shapes(raw: Any, subject: MapSubject, size: Size) -> dict[str, tuple[int, ...]]:
    """Return the shapes that a raw output of two images owes, by name."""
    cells = sum(-(-size[0] // level.stride) * -(-size[1] // level.stride) for level in subject.takes)
    if isinstance(raw, DenseOutput):
        distances = (2, cells, 4, raw.distances.shape[-1])
        return {"distances": distances, "scores": (2, cells, NUM_CLASSES), "anchors": (cells, 2), "strides": (cells,)}
    if isinstance(raw, QueryOutput):
        layers, _, queries, _ = raw.boxes.shape
        return {"boxes": (layers, 2, queries, 4), "scores": (layers, 2, queries, NUM_CLASSES)}
    return {}


def trains_with_targets(subject: MapSubject) -> None:
    """With an image that has boxes and one that has none, every parameter gets a finite gradient."""
    module, maps = subject.scrambled(), subject.maps(2)
    subject.learn(module, maps)
    check_gradients(module, maps)
