"""A broken step, taken again from its file: what is finite, and which images it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch.plugins import DoublePrecision, MixedPrecision, Precision

from detkit.deploy.load import load_detector
from detkit.drawing import batch_sheet, save_picture
from detkit.structures import Batch
from detkit.train.buffers import Buffers
from detkit.train.examine import Finding, examine, odd_boxes
from detkit.train.module import DetectorModule
from detkit.train.record import Record, Tried, read_record, set_random_states

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed", "64": "64-true"}
"""Lightning's names."""


class Image(NamedTuple):
    """One image of a batch.

    Attributes:
        file: its path; of the first one of a mosaic.
        alone: what is not finite in a batch of it alone.
        boxes: what is unusual in its boxes.
    """

    file: str
    alone: Finding
    boxes: list[str]


class ReplayedBatch(NamedTuple):
    """One batch of a step.

    Attributes:
        tried: as it was.
        found: what is not finite now.
        images: one by one.
        picture: of the batch with its boxes.
    """

    tried: Tried
    found: Finding
    images: list[Image]
    picture: Path


class Replay(NamedTuple):
    """A step, and what came of it.

    Attributes:
        record: as it was.
        precision: that it was taken in again, as Lightning calls it.
        device: that it was taken on again.
        batches: one by one.
    """

    record: Record
    precision: str
    device: str
    batches: list[ReplayedBatch]


def replay(path: Path, precision: str | None = None, anomaly: bool = False) -> Replay:
    """Take a step again: the same weights, batches and random numbers, on the device that it was taken on, where there is one.

    Args:
        path: a file of a run's folder ``broken``.
        precision: a name of `PRECISIONS`; None for the run's own.
        anomaly: use autograd's anomaly mode, which names the operation behind a NaN in the backward pass.

    Raises:
        UserError: the file is none of these, or the picture cannot be written beside it.
    """
    record, _ = read_record(path)
    chosen = record.precision if precision is None else PRECISIONS[precision]
    device = "cuda" if torch.cuda.is_available() and "cuda" in record.tried[0].random else "cpu"
    detector, experiment, names = load_detector(path)
    module = DetectorModule(detector.to(memory_format=torch.channels_last), experiment, names).to(device)
    plugin = _plugin(chosen, device)
    plugin.convert_module(module)
    scale = record.scale if chosen == PRECISIONS["fp16"] else 1.0
    buffers = Buffers(module)

    def take(tried: Tried, batch: Batch) -> Finding:
        set_random_states(tried.random)
        rescaled = module.rescaled(_on(batch, device), record.epoch, tried.number)
        found = examine(module.detector, rescaled, plugin.train_step_context, scale, anomaly)
        buffers.restore()
        return found

    batches = []
    for tried in record.tried:
        picture = path.with_name(f"{path.stem}-batch-{tried.number + 1}.jpg")
        save_picture(picture, batch_sheet(tried.batch, names))
        notes = odd_boxes(tried.batch.targets, (tried.batch.images.shape[-2], tried.batch.images.shape[-1]))
        images = [
            Image(file, take(tried, _rows(tried.batch, [place, place])), boxes)  # twice, as a batch norm asks for two values
            for place, (file, boxes) in enumerate(zip(tried.files, notes, strict=True))
        ]
        batches.append(ReplayedBatch(tried, take(tried, tried.batch), images, picture))
    return Replay(record, chosen, device, batches)


def _plugin(precision: str, device: str) -> Precision:
    """Return Lightning's part for a precision; its Trainer has none for 16-mixed on a CPU."""
    if precision in ("16-mixed", "bf16-mixed"):
        return MixedPrecision(precision, device)  # type: ignore[arg-type]
    return DoublePrecision() if precision == PRECISIONS["64"] else Precision()


def _rows(batch: Batch, places: Sequence[int]) -> Batch:
    """Return a batch of some images of another."""
    return _mapped(batch, lambda value: value[list(places)])


def _on(batch: Batch, device: str) -> Batch:
    return _mapped(batch, lambda value: value.to(device))


def _mapped(value: Any, change: Any) -> Any:
    """Apply ``change`` to all tensors in nested tuples and dictionaries."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return type(value)(*(_mapped(item, change) for item in value))
