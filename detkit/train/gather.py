"""What each of several processes has, for all of them."""

from __future__ import annotations

from typing import TypeVar

from lightning.pytorch import Trainer
from torch import distributed

Item = TypeVar("Item")


def gathered(trainer: Trainer, mine: Item) -> list[Item]:
    """Return the items of all processes by rank; every process must call it."""
    items = [mine] * trainer.world_size
    if trainer.world_size > 1:
        distributed.all_gather_object(items, mine)
    return items
