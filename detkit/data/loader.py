"""Batches: for training, shuffled, augmented and resumable; for evaluation, every image exactly once."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence

import torch

from detkit.data.annotations import Annotations
from detkit.data.augment import Augment
from detkit.data.dataset import Address, EvalDataset, TrainDataset
from detkit.data.spec import Data
from detkit.data.workers import Workers
from detkit.errors import UserError
from detkit.structures import Batch

log = logging.getLogger(__name__)

MOST_TOLD = 8
"""Unreadable images of a loader that are told one by one; the others are only remembered."""


class TrainLoader:
    """Augmented batches of a split: a seeded shuffle each epoch, the same whatever the number of workers.

    Every batch has the same size: the last one is filled up with further samples from the start of the order. A set smaller
    than a batch makes one batch of its own size. An iteration starts at the beginning of the epoch that `set_epoch` names
    (by default: the one after the last), or where a loaded state left off; nothing is read before its first
    batch is asked for, when the cache is filled if there is to be one.

    An image that cannot be read is told and remembered, and the next one of the epoch that can takes its place.

    Attributes:
        unreadable: what is wrong with the images that could not be read so far, by path.

    Args:
        annotations: the training split.
        data: input size, resizing, workers, cache.
        augment: augmentation.
        batch: images a batch and process.
        epochs: length of the run.
        seed: of order and augmentation.
        rank: which of ``world`` processes this is; each gets its own share of every epoch.
        world: number of processes.
    """

    def __init__(
        self,
        annotations: Annotations,
        data: Data,
        augment: Augment,
        *,
        batch: int,
        epochs: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.batch = min(batch, math.ceil(len(annotations) / world))
        self._length = math.ceil(len(annotations) / (self.batch * world))
        self._rank, self._world = rank, world
        self._epoch = 0
        self._consumed = 0
        self._resumes = False
        dataset = TrainDataset(annotations, data, augment, epochs, seed)
        self._images = dataset.images
        self._workers = Workers(dataset, data.workers)
        self._paths = annotations.paths
        self.unreadable: dict[str, str] = {}

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        """Yield the rest of a resumed epoch, or a whole one."""
        if self._consumed >= self._length:
            self._epoch, self._consumed = self._epoch + 1, 0
        elif not self._resumes:
            self._consumed = 0
        self._resumes = False
        self._images.fill()
        plan = [self._addresses(number) for number in range(self._consumed, self._length)]
        for made in self._workers.batches(plan):
            self._consumed += 1
            _remember(self.unreadable, self._paths, made.unreadable, self._rank, "another one takes its place")
            yield made.batch

    @property
    def note(self) -> str | None:
        """What the images' cache will take, in a line; None without one."""
        return self._images.note

    @property
    def sampler(self) -> TrainLoader:
        """The loader itself: Lightning calls ``loader.sampler.set_epoch`` when an epoch starts."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is; one that `load_state_dict` goes on with is not started again."""
        if epoch != self._epoch or not self._resumes:
            self._epoch, self._consumed = epoch, 0

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and how many of its batches were handed out; what workers have prepared does not count."""
        return {"epoch": self._epoch, "batches": self._consumed, "length": self._length}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a state was taken.

        Raises:
            UserError: it was taken in mid-epoch with another number of batches an epoch.
        """
        finished = state["batches"] >= state["length"]
        if state["length"] != self._length and not finished:
            raise UserError(
                f"the run stopped in mid-epoch with {state['length']} batches an epoch, now there are {self._length}; resume "
                "with the same data, recipe.batch and number of processes, or from a checkpoint of an epoch's end"
            )
        self._epoch, self._consumed = state["epoch"], self._length if finished else state["batches"]
        self._resumes = True

    def close(self) -> None:
        """End the worker processes; a later iteration starts new ones."""
        self._workers.close()

    def _addresses(self, number: int) -> list[Address]:
        """Return what this process's share of a batch is made of."""
        start = (number * self._world + self._rank) * self.batch
        return [Address(self._epoch, start + i) for i in range(self.batch)]


class EvalLoader:
    """The images of a split, each scored exactly once over all processes, in order, not augmented.

    Every process has the same number of images, at least one: where they don't divide evenly, surplus images keep processes
    in step and carry ``scored=False``. So does an image that cannot be read, which is told and remembered.

    Attributes:
        unreadable: what is wrong with the images that could not be read so far, by path.

    Args:
        annotations: the split.
        data: input size, resizing, workers.
        batch: images a batch and process.
        rank: which of ``world`` processes this is.
        world: number of processes.
    """

    def __init__(self, annotations: Annotations, data: Data, *, batch: int, rank: int = 0, world: int = 1) -> None:
        self.batch = batch
        self._paths = annotations.paths
        self.unreadable: dict[str, str] = {}
        self._share = math.ceil(len(annotations) / world)
        self._rank, self._world = rank, world
        self._workers = Workers(EvalDataset(annotations, data), data.workers)

    def __len__(self) -> int:
        """Return the number of batches, the same in every process."""
        return math.ceil(self._share / self.batch)

    def __iter__(self) -> Iterator[Batch]:
        """Yield this process's batches."""
        plan = self._indices()
        count = len(self._paths)
        for indices, made in zip(plan, self._workers.batches(plan), strict=True):
            _remember(self.unreadable, self._paths, made.unreadable, self._rank, "it is not scored")
            scored = [index < count and index not in made.unreadable for index in indices]
            yield made.batch._replace(scored=torch.tensor(scored))

    def close(self) -> None:
        """End the worker processes; a later iteration starts new ones."""
        self._workers.close()

    def _indices(self) -> list[list[int]]:
        """Return this process's batches; indices beyond the last image are surplus."""
        mine = range(self._rank, self._share * self._world, self._world)
        return [list(mine[start : start + self.batch]) for start in range(0, self._share, self.batch)]


def _remember(known: dict[str, str], paths: Sequence[str], found: dict[int, str], rank: int, what_follows: str) -> None:
    """Add the images that could not be read for a batch to those ``known``; the first process tells of the new ones."""
    for index, reason in found.items():
        path = paths[index]
        if path not in known and rank == 0 and len(known) < MOST_TOLD:
            log.warning("%s; until then %s", reason, what_follows)
        elif path not in known and rank == 0 and len(known) == MOST_TOLD:
            log.warning("more than %d images cannot be read; the others are not told one by one", MOST_TOLD)
        known[path] = reason
