"""``best.ckpt`` and ``last.ckpt``: written whole or not at all, and read without running code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO

from detkit.weights.checkpoint import migrate, read_content, write_checkpoint

BEST, LAST = "best", "last"


def file_name(name: str) -> str:
    """Return the name of a checkpoint file."""
    return f"{name}{ModelCheckpoint.FILE_EXTENSION}"


class SafeCheckpointIO(TorchCheckpointIO):
    """Lightning's way to detkit's checkpoint files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace the file at ``path``; whoever looks finds the old one or the new one, never a part."""
        write_checkpoint(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Read plain data and tensors onto the CPU, whatever is asked for."""
        return migrate(read_content(Path(path)), Path(path))


class RunCheckpoint(ModelCheckpoint):
    """One file of the run folder, replaced each time, that survives a move of the folder.

    With ``steps`` it is saved in mid-epoch, else at the end of each epoch, after evaluation.
    """

    def __init__(self, folder: Path, name: str, monitor: str | None = None, steps: int | None = None) -> None:
        super().__init__(
            folder,
            filename=name,
            monitor=monitor,
            mode="max",
            every_n_train_steps=steps,
            every_n_epochs=None if steps else 1,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )
        self._steps = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the steps of a run that is resumed."""
        super().on_train_start(trainer, pl_module)
        self._steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save in mid-epoch, after an optimizer step: gradients that are still being summed are in no checkpoint.

        After the last batch the end of the epoch, with its evaluation, is better waited for.
        """
        stepped, self._steps = trainer.global_step > self._steps, trainer.global_step
        if stepped and not trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what was best so far, with its path in the present folder."""
        assert self.dirpath is not None
        here = {path: str(Path(self.dirpath) / Path(path).name) for path in state_dict["best_k_models"]}
        moved = {
            "dirpath": self.dirpath,
            "best_k_models": {here[path]: score for path, score in state_dict["best_k_models"].items()},
        }
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[key] = here.get(state_dict[key], "")
        super().load_state_dict(state_dict | moved)
