"""Random states: seeded at the start, kept in checkpoints, and untouched by evaluation."""

from __future__ import annotations

import random
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from detkit.train.gather import gathered

KEY = "random"
"""Entry of a checkpoint that holds one state a process."""


def seed_all(seed: int) -> None:
    """Seed python, numpy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Tensor]:
    """Return the states of python, numpy and torch as tensors, which a checkpoint can hold without code."""
    version, words, gauss = random.getstate()
    _, key, position, has_gauss, cached = cast(tuple[str, np.ndarray, int, int, float], np.random.get_state(legacy=True))
    state = {
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([*key.tolist(), position, has_gauss], dtype=torch.int64),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Tensor]) -> None:
    """Put back what `random_state` returned."""
    version, *words = state["python"].tolist()
    gauss = state["python_gauss"].tolist()
    random.setstate((version, tuple(words), gauss[0] if gauss else None))
    *key, position, has_gauss = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(key, np.uint32), position, has_gauss, state["numpy_gauss"].item()))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"].cpu())


class RandomStates(Callback):
    """Keeps every process's random states in checkpoints, and hides from them that evaluation takes place."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._restored: dict[str, Tensor] | None = None
        self._after_training: dict[str, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the checkpoint's states, or from the seed; each process draws its own numbers."""
        if self._restored is not None:
            set_random_state(self._restored)
        else:
            seed_all(self.seed + trainer.global_rank)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the states before evaluation; they are what a checkpoint saved during it must hold."""
        if trainer.is_last_batch:
            self._after_training = random_state()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Undo what evaluation drew."""
        if self._after_training is not None:
            set_random_state(self._after_training)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the states of the last epoch's end."""
        self._after_training = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the states of all processes."""
        mine = random_state() if self._after_training is None else self._after_training
        checkpoint[KEY] = gathered(trainer, mine)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Remember this process's states; a process that the run did not have before starts from the seed."""
        states = checkpoint.get(KEY, ())
        self._restored = states[trainer.global_rank] if trainer.global_rank < len(states) else None
