"""The LightningModule: knows the contract of a detector, and nothing of boxes, anchors or matching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, distributed
from torch.nn.utils import clip_grads_with_norm_
from torch.optim import Optimizer

from detkit.data.rescale import number_of_shapes, random_shape, rescale
from detkit.evaluation.coco import CocoMetric, CocoResult
from detkit.experiment import Experiment
from detkit.parts import Detector
from detkit.structures import Batch
from detkit.train.buffers import leave_apart
from detkit.train.compiling import Compiled
from detkit.train.optimization import Course
from detkit.train.roles import freeze, freeze_norms, norm_roles, norms_below
from detkit.train.schedule import Schedule
from detkit.weights.checkpoint import header

CONFIDENCE, IOU, LIMIT = 0.001, 0.7, 300
"""How detections are chosen for evaluation: nearly all of them, as COCO's curves need."""


class DetectorModule(LightningModule):
    """Trains and evaluates any `Detector` under the recipe of an experiment.

    Attributes:
        detector: what is trained.
        losses: of the latest batch, by name, weighted, detached.
        gradient_norm: of the latest step, before clipping; None where nobody measures it.
        dropped: the latest step was not taken, as it would have spoilt the weights.
        skipped: how many such steps there were.
        result: of the latest evaluation in this epoch.
        metric: made when training or evaluation starts.
        compiled: context of the forward pass of a training step.
    """

    metric: CocoMetric
    course: Course

    def __init__(
        self,
        detector: Detector,
        experiment: Experiment,
        names: Sequence[str],
        licence: str = "",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Take a detector.

        Args:
            detector: with its initial weights.
            experiment: its recipe must be complete (`detkit.train.optimization.derive`).
            names: of the classes by label.
            licence: terms of the initial weights, which checkpoints hand on.
            data: fingerprints of the splits, which checkpoints hold.
        """
        super().__init__()
        self.licence, self.data = licence, data
        self.detector = detector
        self.experiment, self.names = experiment, tuple(names)
        self.losses: dict[str, Tensor] = {}
        self.gradient_norm: Tensor | None = None
        self.dropped, self.skipped = False, 0
        self.result: CocoResult | None = None
        self.compiled: Callable[[], AbstractContextManager[None]] = nullcontext
        freeze_norms(detector, norm_roles(experiment.recipe))
        freeze(detector, experiment.recipe.freeze)
        self.train()

    def setup(self, stage: str) -> None:
        """Take the ground truth from the data."""
        ground_truth = self.trainer.datamodule.ground_truth  # type: ignore[attr-defined]
        self.metric = CocoMetric(ground_truth, self.names, self.experiment.coco)

    def train(self, mode: bool = True) -> DetectorModule:
        """Set the mode; frozen batch norms, which SyncBatchNorm may have taken the places of, stay in evaluation mode."""
        super().train(mode)
        recipe = self.experiment.recipe
        for norm in norms_below(self.detector, (*recipe.freeze, *norm_roles(recipe))).values():
            norm.eval()
        return self

    # --- training ----------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer:
        """Return the optimizer; its learning rates are set at every batch."""
        batches = self.trainer.datamodule.batches  # type: ignore[attr-defined]
        self.course = Course(self.detector, Schedule(self.experiment.recipe, batches, self.trainer.world_size))
        return self.course.build()

    def on_train_start(self) -> None:
        """Set what counts for an epoch that is resumed in its middle; compile, now that no copies of the module are to come."""
        self._set_epoch()
        leave_apart(self.trainer.strategy.model)
        if self.experiment.compile:
            data, recipe = self.experiment.data, self.experiment.recipe
            sizes = number_of_shapes(data.shape, recipe.multi_scale, max(self.detector.strides))
            self.compiled = Compiled(self.detector, sizes)

    def on_train_epoch_start(self) -> None:
        """Set what counts for the epoch."""
        self.result = None
        self._set_epoch()

    def _set_epoch(self) -> None:
        epoch, recipe = self.trainer.current_epoch, self.experiment.recipe
        self.trainer.accumulate_grad_batches = self.course.schedule.accumulation(epoch)
        is_last = epoch + 1 == recipe.epochs
        self.trainer.check_val_every_n_epoch = 1 if is_last else recipe.eval_every

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set learning rates and momentum."""
        done = self.trainer.current_epoch * self.course.schedule.batches + batch_idx
        self.course.apply(self.trainer.optimizers[0], done)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of the losses.

        Lightning divides it by the number of batches whose gradients it sums; the recipe's learning rates are for the sum.
        """
        batch = self.rescaled(batch, self.trainer.current_epoch, batch_idx)
        with self.compiled():
            losses = self.detector(batch.images, batch.targets)
        self.losses = {name: loss.detach() for name, loss in losses.items()}
        self.log_dict({f"loss_{name}": loss for name, loss in self.losses.items()})
        return contagious(sum(losses.values())) * self.trainer.accumulate_grad_batches

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip; to a norm that was measured already where there is one."""
        if self.gradient_norm is None or gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        elif gradient_clip_val:
            parameters = self.trainer.precision_plugin.main_params(optimizer)
            clip_grads_with_norm_(parameters, gradient_clip_val, self.gradient_norm)

    def rescaled(self, batch: Batch, epoch: int, number: int) -> Batch:
        """Return batch ``number`` of an epoch (both from 0) as multi-scale training has it."""
        amount = self.experiment.recipe.multi_scale
        if not amount:
            return batch
        key = (self.experiment.seed, epoch, number)
        return rescale(batch, random_shape(batch.images.shape[-2:], amount, max(self.detector.strides), key))

    # --- evaluation --------------------------------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Forget earlier images; evaluate the first process's buffers everywhere, as it is its checkpoint that they judge.

        Batch norm statistics differ between processes, parameters don't.
        """
        self.metric.reset()
        if self.trainer.world_size > 1:
            for buffer in self.buffers():
                distributed.broadcast(buffer, src=0)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Count the detections that are to be scored; return the predictions that they come from."""
        predictions = self.detector(batch.images)
        found = self.detector.detect(predictions, batch.geometry, CONFIDENCE, IOU, LIMIT)
        self.metric.update(found, batch.image_ids, batch.scored)
        return {"predictions": predictions}

    def on_validation_epoch_end(self) -> None:
        """Compute and log COCO's numbers."""
        self.result = self.metric.compute()
        self.log_dict(self.result.scalars(), batch_size=1)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what it takes to rebuild the detector, and to publish it: experiment, class names, format, terms, data."""
        checkpoint.update(header(self.experiment, self.names, self.licence, self.data))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take over the terms of the weights that a resumed run started from."""
        self.licence = checkpoint.get("licence", "")


def contagious(loss: Tensor) -> Tensor:
    """Return the same loss, whose gradient is NaN where the loss is not finite: the norm of the gradient then tells of both."""
    value = loss.detach()
    return loss * (1 + (value - value))
