"""Training recipes: how long, how fast, with what augmentation.

`yolo_recipe` is the one that YOLOv8 and YOLO11 were published with (observed while it trained).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch.optim import Optimizer

from detkit.data.augment import Augment, detr_augment
from detkit.spec import Spec


class OptimizerSpec(Spec):
    """An optimizer; parameter groups (no decay on norms and biases, scales by role) are made where training starts."""

    home = "detkit.recipes"

    lr: float = Field(gt=0)
    """Learning rate after warm-up."""
    weight_decay: float = Field(5e-4, ge=0)
    """Of convolution and linear weights."""

    @abstractmethod
    def build(self, groups: Iterable[dict[str, Any]]) -> Optimizer:
        """Return the optimizer for parameter groups, each of which may name its own lr and weight_decay."""


class SGD(OptimizerSpec):
    """Stochastic gradient descent with Nesterov momentum."""

    lr: float = Field(0.01, gt=0)
    """Learning rate after warm-up."""
    momentum: float = Field(0.937, ge=0, lt=1)
    """Momentum after warm-up."""

    def build(self, groups: Iterable[dict[str, Any]]) -> Optimizer:
        """Return the optimizer."""
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0)


class AdamW(OptimizerSpec):
    """Adam with decoupled weight decay (Loshchilov & Hutter, 2019, arXiv:1711.05101)."""

    lr: float = Field(1e-3, gt=0)
    """Learning rate after warm-up."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running means of gradient and square; the first warms up as momentum does."""

    def build(self, groups: Iterable[dict[str, Any]]) -> Optimizer:
        """Return the optimizer, as one kernel where all parameters are on the CPU.

        That kernel reads parameters, gradients and averages in the order in which they lie in memory; autograd lays a gradient
        out as its parameter is. On GPUs the default is quick too, and a fused one would refuse to be clipped.
        """
        groups = list(groups)
        fused = all(parameter.device.type == "cpu" for group in groups for parameter in group["params"])
        optimizer = torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, fused=fused or None)
        if fused:
            optimizer._step_supports_amp_scaling = False  # Lightning unscales gradients before it, to clip them
        return optimizer


class Recipe(Spec):
    """How to train."""

    epochs: int = Field(100, ge=1)
    """Passes over the training images."""
    batch: int = Field(16, ge=1)
    """Images a step and process."""
    nominal_batch: int | None = Field(64, ge=1)
    """Gradients accumulate to about this many images (ramping up during warm-up); weight decay is given for it. None: off."""
    optimizer: OptimizerSpec | None = None
    """None derives it from the length of the run: AdamW up to 10,000 steps of the nominal batch, SGD beyond."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after warm-up, epoch by epoch."""
    final_lr: float = Field(0.01, ge=0, le=1)
    """Learning rate at the end, as a fraction."""
    warmup_epochs: float = Field(3.0, ge=0)
    """Linear warm-up of learning rate and momentum; at least `warmup_steps`, at most half of the run."""
    warmup_steps: int = Field(100, ge=0)
    """Least steps (batches) of warm-up."""
    warmup_bias_lr: float | None = Field(None, ge=0)
    """Biases start here and come down. None derives it: 0.1 for an SGD that was asked for, else 0."""
    warmup_momentum: float = Field(0.8, ge=0, lt=1)
    """Momentum (SGD) or first beta (AdamW) at the first step."""
    lr_scale: dict[str, Annotated[float, Field(ge=0)]] = {}
    """Learning-rate factor by role: ``{"backbone": 0.1}``; the longest matching role counts, words before ``*``."""
    ema: float | None = Field(0.9999, gt=0, lt=1)
    """Decay of the averaged weights that are evaluated and saved as best. None: off."""
    ema_warmup: int = Field(2000, ge=1)
    """Steps over which the decay rises: decay * (1 - exp(-step / ema_warmup))."""
    clip: float | None = Field(10.0, gt=0)
    """Largest norm of the gradient. None: off."""
    multi_scale: float = Field(0.0, ge=0, lt=1)
    """Each batch is resized by a random factor in [1 - x, 1 + x], to a multiple of the largest stride."""
    augment: Augment = Augment()
    """Augmentation of training images."""
    eval_every: int = Field(1, ge=1)
    """Epochs between evaluations; the last epoch is always evaluated."""
    patience: int | None = Field(None, ge=1)
    """Stop after this many evaluations without a better AP. None: never."""
    freeze: tuple[str, ...] = ()
    """Roles that don't train: ``backbone``, ``backbone.stages.0``, or, with ``*`` for any word, ``backbone.stages.*.body``."""
    freeze_norms: bool | tuple[str, ...] = False
    """Roles whose batch norms keep statistics, scale and shift. True: those of all norms that ``init`` loads."""
    checkpoint_steps: int | None = Field(None, ge=1)
    """Save ``last.ckpt`` every so many optimizer steps too, not only after each epoch. None: after each epoch."""
    broken_steps: int = Field(5, ge=1)
    """Stop when so many steps in a row have a loss or a gradient that is not finite; fewer are skipped and told."""


def yolo_recipe(**fields: Any) -> Recipe:
    """Return the recipe of YOLOv8 and YOLO11, with ``fields`` changed."""
    return Recipe(**fields)


def detr_recipe(**fields: Any) -> Recipe:
    """Return the recipe of RT-DETR and RT-DETRv2, with ``fields`` changed.

    AdamW at 1e-4, a tenth of it for a pretrained backbone, constant after a warm-up of 2,000 steps; gradients are clipped at
    0.1; inputs are stretched (``Data(resize="stretch")``) after photometric distortion, zoom-out, crop and flip. The larger
    published models add ``multi_scale=0.25``. From initial weights, let the backbone learn as fast as the rest:
    ``lr_scale={}``. Dense one-to-one matching (DEIM): ``augment=detr_augment(mosaic=0.5, mixup=0.5, close_mosaic=12)``.
    """
    published: dict[str, Any] = {
        "epochs": 72,
        "nominal_batch": None,
        "optimizer": AdamW(lr=1e-4, weight_decay=1e-4),
        "schedule": "constant",
        "warmup_epochs": 0.0,
        "warmup_steps": 2000,
        "warmup_momentum": 0.9,
        "lr_scale": {"backbone": 0.1},
        "clip": 0.1,
        "augment": detr_augment(),
    }
    return Recipe(**(published | fields))
