"""A training step as a file: batches, random states and weights, so that it can be taken again.

The file is a checkpoint of detkit (plain data and tensors) with one further entry, ``broken``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from detkit.data.annotations import Annotations
from detkit.errors import UserError
from detkit.structures import Batch, Geometry, Targets
from detkit.train.module import DetectorModule
from detkit.weights.checkpoint import Checkpoint, header, migrate, read_checkpoint, read_content, write_checkpoint

ENTRY = "broken"


class Tried(NamedTuple):
    """One of the batches whose gradients a step sums.

    Attributes:
        batch: as the loader gave it.
        number: in its epoch, from 0.
        random: torch's states before it, by device.
        losses: weighted, by name; filled in once they are known.
        files: the images; the first one of each mosaic. Empty until somebody asks.
    """

    batch: Batch
    number: int
    random: dict[str, Tensor]
    losses: dict[str, Tensor]
    files: tuple[str, ...] = ()


class Record(NamedTuple):
    """A step that was tried.

    Attributes:
        epoch: from 0.
        step: of the run, from 1.
        process: which of several.
        precision: as Lightning calls it.
        scale: that losses were multiplied by (16-mixed).
        tried: the batches.
    """

    epoch: int
    step: int
    process: int
    precision: str
    scale: float
    tried: Sequence[Tried]

    def __str__(self) -> str:
        numbers = [str(tried.number + 1) for tried in self.tried]
        batches = f"batch {numbers[0]}" if len(numbers) == 1 else f"batches {numbers[0]} to {numbers[-1]}"
        return f"step {self.step} (epoch {self.epoch + 1}, {batches})"

    @property
    def file_name(self) -> str:
        """What its file is called."""
        return f"step-{self.step:06d}.pt"


def random_states() -> dict[str, Tensor]:
    """Return torch's random states by device: quicker than those of python and numpy, which networks don't draw from."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict[str, Tensor]) -> None:
    """Put back what `random_states` returned."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])


def image_files(annotations: Annotations, image_ids: Iterable[int]) -> tuple[str, ...]:
    """Return the files of images."""
    rows = {int(number): row for row, number in enumerate(annotations.image_ids)}
    return tuple(annotations.paths[rows[number]] for number in image_ids)


def write_record(record: Record, module: DetectorModule, path: Path) -> None:
    """Write a step with the weights that ``module`` has.

    Raises:
        OSError: it cannot be written there.
    """
    content = record._asdict() | {"tried": [_plain(tried) for tried in record.tried]}
    state = {name: value.cpu() for name, value in module.state_dict().items()}
    write_checkpoint({**header(module.experiment, module.names), "state_dict": state, ENTRY: content}, path)


def read_record(path: Path) -> tuple[Record, Checkpoint]:
    """Return a step, and the weights that it started from.

    Raises:
        UserError: no such file, damaged, or a checkpoint of something else.
    """
    content = migrate(read_content(path), path).get(ENTRY)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no step; give a file of a run's folder broken/, such as step-000123.pt")
    record = Record(**content)
    return record._replace(tried=[_tried(item) for item in content["tried"]]), read_checkpoint(path)


def _plain(tried: Tried) -> dict[str, Any]:
    """Return a batch as plain data and tensors of the CPU."""
    batch = tried.batch
    parts = batch._asdict() | {"targets": batch.targets._asdict(), "geometry": batch.geometry._asdict()}
    return _on_cpu(tried._asdict() | {"batch": parts})


def _on_cpu(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _on_cpu(item) for key, item in value.items()}
    return value.cpu() if isinstance(value, Tensor) else value


def _tried(stored: dict[str, Any]) -> Tried:
    """Return what `_plain` was given."""
    parts = stored["batch"]
    targets, geometry = Targets(**parts["targets"]), Geometry(**parts["geometry"])
    return Tried(**(stored | {"batch": Batch(**(parts | {"targets": targets, "geometry": geometry}))}))
