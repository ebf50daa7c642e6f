"""Steps whose loss or gradient is not finite: named, skipped, kept for replay; after several in a row the run stops.

What tells is the norm of the gradient, one number a step: a loss that is not finite makes its gradient so too
(`detkit.train.module.contagious`), and processes average their gradients, so that all of them read the same. A step that
breaks leaves no trace in the weights, in what the optimizer and the averages remember, or in the statistics of batch norm;
where gradients are summed over several batches, all of these are dropped. Random states, schedules and the count of steps
go on, so that a resumed run skips what the uninterrupted one did.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from detkit.errors import UserError
from detkit.structures import Batch
from detkit.train.blame import Blame, Share, first_parts
from detkit.train.buffers import Buffers
from detkit.train.examine import examine
from detkit.train.gather import gathered
from detkit.train.loaders import Loaders
from detkit.train.module import DetectorModule
from detkit.train.record import Record, Tried, image_files, random_states, set_random_states, write_record
from detkit.train.runs import tell, told

BROKEN = "broken"
"""Folder of the files for replay, in the run folder."""
KEPT_FILES = 3
"""Each process's latest ones stay."""
WIDER = {"16-mixed": "bf16-mixed or 32-true", "bf16-mixed": "32-true"}
"""Precisions in which larger or finer numbers are finite."""
LEAST_SCALE = 1.0
"""Of the losses under 16-mixed: above it, a gradient that is not finite only means that the scale is still being searched."""


class BrokenSteps(Callback):
    """Skips steps that break, and tells of them.

    Args:
        folder: of the files for replay.
        limit: steps in a row that end the run.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self._skipped, self._row = 0, 0
        self._tried: list[Tried] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on counting; all processes learn the first one's folder, and have one of their own in it."""
        folder = Path(trainer.strategy.broadcast(str(self.folder)))
        self.folder = folder / f"process-{trainer.global_rank}" if trainer.global_rank else folder
        cast(DetectorModule, pl_module).skipped = self._skipped
        self._buffers = Buffers(pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        """Remember what a step starts from; the batches stay where they are, and nothing is read from the device."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._buffers.keep()
            self._tried = []
            cast(DetectorModule, pl_module).dropped = False
        self._tried.append(Tried(batch, batch_idx, random_states(), {}))

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the losses of the batch."""
        self._tried[-1].losses.update(cast(DetectorModule, pl_module).losses)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Measure the gradient, once for this and for clipping, and drop it where it is not finite.

        Raises:
            UserError: too many steps in a row.
        """
        module, parameters = cast(DetectorModule, pl_module), trainer.precision_plugin.main_params(optimizer)
        module.gradient_norm = get_total_norm([item.grad for item in parameters if item.grad is not None])
        if math.isfinite(module.gradient_norm.item()):
            self._row = 0
        else:
            self._check(trainer, module, optimizer)
        self._tried = []

    def _check(self, trainer: Trainer, module: DetectorModule, optimizer: Optimizer) -> None:
        """Skip a step, unless it is the scaler of 16-mixed that is to do so."""
        record = _record(trainer, self._tried)
        mine = Share.of(record.tried, self.folder / record.file_name)
        blame = Blame.of(gathered(trainer, mine), module.detector)
        if not blame.lost and record.scale > LEAST_SCALE:
            return
        check_weights(trainer, dict(module.named_parameters()))  # else images would be blamed for the step before
        optimizer.zero_grad(set_to_none=True)  # an optimizer without gradients does nothing
        self._buffers.restore()
        self._skipped, self._row = self._skipped + 1, self._row + 1
        module.skipped, module.dropped = self._skipped, True
        if mine.file in [share.file for share in blame.shares]:
            self._write(record, module)
        tell(f"{record} is skipped: {blame}. To see why: tools/replay.py {blame.shares[0].file}")
        if self._row >= self.limit:
            self._stop(trainer, module, record, blame)

    def _write(self, record: Record, module: DetectorModule) -> None:
        """Write the file for replay and remove the oldest; a full disk is told of."""
        file = self.folder / record.file_name
        with told(f"{file} could not be written"):
            write_record(record, module, file)
            for old in sorted(self.folder.glob("*.pt"))[:-KEPT_FILES]:
                old.unlink()

    def _stop(self, trainer: Trainer, module: DetectorModule, record: Record, blame: Blame) -> None:
        """Look for the part that breaks, and end the run.

        Raises:
            UserError: always.
        """
        findings = []
        for tried in record.tried:
            set_random_states(tried.random)
            batch = module.rescaled(tried.batch, record.epoch, tried.number)
            findings.append(examine(module.detector, batch, trainer.precision_plugin.train_step_context, record.scale))
            self._buffers.restore()
        parts = sorted(part for words in gathered(trainer, first_parts(findings, record.tried)) for part in words)
        raise UserError(
            f"{self._row} steps in a row broke; in the last one, {record}, {blame}. "
            + "".join(words for _, words in parts[:1])
            + f"{settings(trainer)} None of these steps is in the weights or in a checkpoint. "
            f"To see more: tools/replay.py {blame.shares[0].file}. To go on: {remedies(trainer)}, "
            "or other images; recipe.broken_steps says how many in a row end a run"
        )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Check the weights before they are evaluated: a finite gradient can still take a step too large for them."""
        if trainer.is_last_batch:
            check_weights(trainer, pl_module.state_dict())

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check all weights that are to be saved."""
        check_weights(trainer, checkpoint["state_dict"])
        check_weights(trainer, checkpoint.get("current_model_state", {}))

    def state_dict(self) -> dict[str, Any]:
        """Return the counts."""
        return {"skipped": self._skipped, "row": self._row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self._skipped, self._row = state_dict["skipped"], state_dict["row"]


def check_weights(trainer: Trainer, state: dict[str, Any]) -> None:
    """Check that weights are finite in all processes; all of them must call it.

    Raises:
        UserError: they are not, in one of them.
    """
    largest = get_total_norm([value for value in state.values() if value.is_floating_point()], math.inf).item()
    if not all(gathered(trainer, math.isfinite(largest))):
        raise UserError(
            f"the weights are not finite after step {trainer.global_step} of epoch {trainer.current_epoch + 1}. "
            f"{settings(trainer)} They are not saved: the last checkpoint stays. To go on: {remedies(trainer)}"
        )


def settings(trainer: Trainer) -> str:
    """Return the sentence on what most often breaks a step."""
    rate = trainer.optimizers[0].param_groups[-1]["lr"]
    return f"The learning rate is {rate:g}, trainer.precision {trainer.precision}."


def remedies(trainer: Trainer) -> str:
    """Return what to write so that weights and steps stay finite."""
    wider = WIDER.get(str(trainer.precision))
    return "a smaller recipe.optimizer.lr or recipe.clip" + (f", trainer.precision={wider}" if wider else "")


def _record(trainer: Trainer, step: Sequence[Tried]) -> Record:
    """Return all about a step that is to be taken, with the files of its images."""
    annotations = cast(Loaders, trainer.datamodule).train  # type: ignore[attr-defined]
    assert annotations is not None
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return Record(
        epoch=trainer.current_epoch,
        step=trainer.global_step + 1,
        process=trainer.global_rank,
        precision=str(trainer.precision),
        scale=1.0 if scaler is None else float(scaler.get_scale()),
        tried=[tried._replace(files=image_files(annotations, tried.batch.image_ids.tolist())) for tried in step],
    )
