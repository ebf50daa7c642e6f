"""``best.ckpt`` and ``last.ckpt``: written whole or not at all, and read without running code."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins import TorchCheckpointIO
from lightning.pytorch.utilities import rank_zero_only

from detkit.errors import UserError
from detkit.train.runs import tell, told
from detkit.weights.checkpoint import migrate, packed, read_content
from detkit.weights.files import replace_file

BEST, LAST = "best", "last"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that more room would mend."""


def file_name(name: str) -> str:
    """Return the name of a checkpoint file."""
    return f"{name}{ModelCheckpoint.FILE_EXTENSION}"


def newest_checkpoint(run: Path) -> Path:
    """Return ``last.ckpt``, or ``best.ckpt`` where it is later, as it is saved first: a run can be killed between the two.

    ``last.ckpt`` is then replaced by it.

    Raises:
        UserError: there is none, or ``last.ckpt`` is damaged.
    """
    last, best = run / file_name(LAST), run / file_name(BEST)
    if not last.is_file() and not best.is_file():
        raise UserError(f"{run} has no {last.name} to go on from: it stopped before its first checkpoint; start it anew")
    step = _step(last) if last.is_file() else -1
    if best.is_file():
        with told(f"{best} is left aside", UserError):
            if _step(best) > step:
                _copy(best, last)
                return best
    return last


def _step(path: Path) -> int:
    return migrate(read_content(path), path)["global_step"]


@rank_zero_only
def _copy(best: Path, last: Path) -> None:
    with told(f"{last} could not be replaced by {best}"):
        replace_file(last, best.read_bytes())


class SafeCheckpointIO(TorchCheckpointIO):
    """Lightning's way to detkit's checkpoint files.

    A full disk does not end a run: the file that is there stays, a sentence says so, and what could not be written is kept in
    memory and tried again at every save and at the end of the run.
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: dict[Path, memoryview] = {}

    @property
    def unsaved(self) -> tuple[Path, ...]:
        """Files that are older than what was to be saved in them."""
        return tuple(self._waiting)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replace the file at ``path``; whoever looks finds the old one or the new one, never a part."""
        self._waiting.pop(Path(path), None)
        self._save_waiting()  # first of all: last.ckpt is not to know of a best.ckpt that is not there
        self._save(Path(path), packed(checkpoint))

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Read plain data and tensors onto the CPU, whatever is asked for."""
        return migrate(read_content(Path(path)), Path(path))

    def teardown(self) -> None:
        """Try a last time, however the run ended."""
        self._save_waiting()

    def _save_waiting(self) -> None:
        for path, data in list(self._waiting.items()):
            del self._waiting[path]
            self._save(path, data)

    def _save(self, path: Path, data: memoryview) -> None:
        try:
            replace_file(path, data)
        except OSError as error:
            self._waiting[path] = data
            reason = _reason(error, path, len(data))
            tell(f"{path} could not be saved: {reason}; an earlier one stays as it is, and saving is tried again")


def _reason(error: OSError, path: Path, size: int) -> str:
    """Return why a file of ``size`` bytes could not be written."""
    reason = error.strerror or str(error)
    if error.errno not in FULL:
        return reason
    free = shutil.disk_usage(next(folder for folder in path.parents if folder.is_dir())).free
    return f"{reason} (it takes {size / 1e6:.1f} MB, {free / 1e6:.1f} MB are free)"


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
