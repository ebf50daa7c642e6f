"""Worker processes that turn sample numbers into batches."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import cv2
import torch
from torch.utils.data import DataLoader

from detkit.errors import UserError
from detkit.structures import Batch, Geometry, Sample, Targets

MAX_WORKERS = 4
"""Where a `Data` spec leaves the number open."""


def collate(samples: Sequence[Sample]) -> Batch:
    """Return samples of one input size as a batch."""
    height, width = samples[0].image.shape[:2]
    images = torch.empty(len(samples), 3, height, width, dtype=torch.uint8)
    for planes, sample in zip(images.numpy(), samples, strict=True):
        cv2.split(sample.image, list(planes))  # writes into the planes
    return Batch(
        images,
        Targets.pack(
            [torch.from_numpy(sample.boxes) for sample in samples],
            [torch.from_numpy(sample.labels) for sample in samples],
            [{name: torch.from_numpy(values) for name, values in sample.fields.items()} for sample in samples],
        ),
        Geometry(
            torch.tensor([sample.scale for sample in samples], dtype=torch.float32),
            torch.tensor([sample.offset for sample in samples], dtype=torch.float32),
            torch.tensor([sample.size for sample in samples]),
        ),
        torch.tensor([sample.image_id for sample in samples]),
        torch.ones(len(samples), dtype=torch.bool),
    )


class Dataset(Protocol):
    """Samples by some kind of number.

    Attributes:
        unreadable: what is wrong with the images that could not be read since this was last emptied, by their index.
    """

    unreadable: dict[int, str]

    def __getitem__(self, key: Any) -> Sample:
        """Return a sample."""


class Made(NamedTuple):
    """What a worker made: a batch, and what is wrong with the images that could not be read for it, by their index."""

    batch: Batch
    unreadable: dict[int, str]


class Workers:
    """Makes batches of a data set ahead of time, in processes that live as long as this object.

    Numbers are sent to the workers, which keep no state of their own: a new epoch or a resumed one needs no new processes.
    An error that the user can mend reaches the caller as it was raised.

    Args:
        dataset: what makes samples.
        workers: processes; 0 works in this one, None takes one a core, at most `MAX_WORKERS`.
    """

    def __init__(self, dataset: Dataset, workers: int | None) -> None:
        self._dataset = _Guarded(dataset)
        self._count = usual_workers() if workers is None else workers
        self._plan = _Plan()
        self._loader: DataLoader[Any] | None = None
        self._running: Generator[Made | UserError, None, None] | None = None

    def batches(self, plan: Iterable[list[Any]]) -> Iterator[Made]:
        """Yield a batch for each list of numbers in ``plan``; ends an earlier iteration.

        Raises:
            UserError: a sample cannot be made; the processes are ended.
        """
        for made in self._start(plan):
            if isinstance(made, UserError):
                self.close()
                raise made
            yield made

    def close(self) -> None:
        """End the processes now; a later iteration starts new ones.

        Left to Python, they end when this object is freed, and wait for some seconds where it is freed as part of a cycle.
        """
        if self._running is not None:
            self._running.close()
        self._running = self._loader = None

    def _start(self, plan: Iterable[list[Any]]) -> Iterator[Made | UserError]:
        if self._running is not None:
            self._running.close()
        if self._loader is None:
            self._loader = DataLoader(
                self._dataset,  # type: ignore[arg-type]
                batch_sampler=self._plan,
                num_workers=self._count,
                collate_fn=_as_made,
                pin_memory=torch.cuda.is_available(),
                worker_init_fn=start_worker,
                persistent_workers=self._count > 0,
                generator=torch.Generator(),  # else each epoch drew from the global stream, and a resumed run once more
            )
        self._plan.lists = plan
        self._running = _iterate(self._loader)
        return self._running


def _iterate(loader: DataLoader[Any]) -> Generator[Made | UserError, None, None]:
    """Iterate in a frame of its own: closing it lets go of the processes, though the caller's loop is still on the stack."""
    yield from loader


class _Plan:
    """What a DataLoader's iteration asks for; set before each, as a DataLoader takes its sampler once and for all."""

    lists: Iterable[list[Any]] = ()

    def __iter__(self) -> Iterator[list[Any]]:
        return iter(self.lists)


class _Guarded:
    """Makes whole batches.

    A user's error is returned instead of raised: PyTorch would raise it again with a worker's traceback for a message.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def __getitems__(self, keys: Sequence[Any]) -> Made | UserError:
        self._dataset.unreadable = {}
        try:
            return Made(collate([self._dataset[key] for key in keys]), self._dataset.unreadable)
        except UserError as error:
            return error


def _as_made(made: Any) -> Any:
    return made


def start_worker(number: int = 0) -> None:
    """Prepare a worker process: one thread, and signals left to the main process, which ends its workers itself.

    Ctrl-C, ``timeout`` and Slurm signal the whole group. Workers whose main process was killed end by themselves.
    """
    cv2.setNumThreads(0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def usual_workers() -> int:
    """Return how many processes load images where nothing is said: one a core, at most `MAX_WORKERS`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, MAX_WORKERS)
