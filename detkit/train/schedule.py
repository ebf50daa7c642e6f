"""Learning rate, momentum and gradient accumulation as pure functions of the batch index: nothing to store or resume."""

from __future__ import annotations

import math
from dataclasses import dataclass

from detkit.recipes import Recipe


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up over batches, then a decay that steps once an epoch.

    Attributes:
        recipe: its ``epochs``, ``schedule``, ``final_lr`` and warm-up fields count.
        batches: batches of an epoch.
        processes: that train together, each with its own batch.
    """

    recipe: Recipe
    batches: int
    processes: int = 1

    @property
    def warmup(self) -> int:
        """Batches of warm-up: the recipe's, but at most half of the run."""
        wanted = max(round(self.recipe.warmup_epochs * self.batches), self.recipe.warmup_steps)
        return min(wanted, self.recipe.epochs * self.batches // 2)

    def decay(self, epoch: int) -> float:
        """Return the factor of the learning rate in an epoch (from 0): 1 at first, towards ``final_lr``."""
        done = min(epoch / self.recipe.epochs, 1.0)
        if self.recipe.schedule == "constant":
            return 1.0
        left = 1 - done if self.recipe.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.recipe.final_lr + (1 - self.recipe.final_lr) * left

    def lr(self, batch: int, target: float, start: float = 0.0) -> float:
        """Return the learning rate at a batch, counted from the start of the run.

        Args:
            batch: index, from 0.
            target: what warm-up arrives at.
            start: what warm-up begins with.
        """
        return self._warm(batch, start, target * self.decay(batch // self.batches))

    def momentum(self, batch: int, target: float) -> float:
        """Return the momentum (or Adam's first beta) at a batch, counted from the start of the run."""
        return self._warm(batch, min(self.recipe.warmup_momentum, target), target)

    def accumulation(self, epoch: int) -> int:
        """Return over how many batches an epoch (from 0) sums gradients: from 1 up to `full_accumulation` during warm-up."""
        middle = round((epoch + 0.5) * self.batches)
        return max(1, round(self._warm(middle, 1, self.full_accumulation)))

    @property
    def full_accumulation(self) -> int:
        """Batches of all processes that come nearest to the nominal batch."""
        if self.recipe.nominal_batch is None:
            return 1
        return max(1, round(self.recipe.nominal_batch / (self.recipe.batch * self.processes)))

    @property
    def weight_decay_factor(self) -> float:
        """What the recipe's weight decay, given for the nominal batch, is multiplied by."""
        if self.recipe.nominal_batch is None:
            return 1.0
        return self.recipe.batch * self.processes * self.full_accumulation / self.recipe.nominal_batch

    def _warm(self, batch: int, start: float, goal: float) -> float:
        """Return what lies between ``start`` and ``goal`` at a batch; the goal itself after warm-up."""
        share = min(batch / self.warmup, 1.0) if self.warmup else 1.0
        return (1 - share) * start + share * goal
