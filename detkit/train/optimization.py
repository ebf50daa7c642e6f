"""From a recipe to an optimizer: which one, its parameter groups, and their course over the run."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from detkit.recipes import SGD, AdamW, Recipe
from detkit.train.roles import check_roles, closest
from detkit.train.schedule import Schedule

LONG_RUN = 10_000
"""Optimizer steps from which a derived optimizer is SGD."""


def derive(recipe: Recipe, images: int, classes: int, processes: int = 1) -> Recipe:
    """Return the recipe with the fields filled in that depend on the data: the optimizer and the bias warm-up.

    The rule is YOLOv8's: AdamW with a learning rate that falls with the class count for runs up to 10,000 steps, SGD
    beyond; biases warm up from 0.1 only under an SGD that was asked for.
    """
    if recipe.optimizer is None:
        at_once = max(recipe.batch * processes, recipe.nominal_batch or 1)
        steps = math.ceil(images / at_once) * recipe.epochs
        short = AdamW(lr=round(0.002 * 5 / (4 + classes), 6))
        changes: dict[str, Any] = {"optimizer": short if steps <= LONG_RUN else SGD(momentum=0.9), "warmup_bias_lr": 0.0}
    else:
        changes = {"warmup_bias_lr": 0.1 if isinstance(recipe.optimizer, SGD) else 0.0}
    if recipe.warmup_bias_lr is not None:
        del changes["warmup_bias_lr"]
    return recipe.model_copy(update=changes)


class Group(NamedTuple):
    """Parameters that share a course.

    Attributes:
        parameters: that train.
        lr: after warm-up.
        start_lr: at the first batch.
        weight_decay: as the optimizer applies it.
    """

    parameters: list[nn.Parameter]
    lr: float
    start_lr: float
    weight_decay: float


class Course:
    """The optimizer's groups and what each is set to at every batch."""

    def __init__(self, model: nn.Module, schedule: Schedule) -> None:
        """Share out the parameters of ``model`` that train, under a recipe that `derive` has completed.

        Raises:
            SpecError: ``recipe.lr_scale`` names an unknown role.
        """
        self.schedule = schedule
        self.groups = _groups(model, schedule)

    def build(self) -> Optimizer:
        """Return the optimizer, set for the first batch."""
        spec = self.schedule.recipe.optimizer
        assert spec is not None, "derive() names the optimizer"
        groups = [{"params": group.parameters, "lr": group.lr, "weight_decay": group.weight_decay} for group in self.groups]
        optimizer = spec.build(groups)
        self.apply(optimizer, 0)
        return optimizer

    def apply(self, optimizer: Optimizer, batch: int) -> None:
        """Set learning rates, weight decay and momentum for a batch, counted from the start of the run."""
        for group, values in zip(self.groups, optimizer.param_groups, strict=True):
            values["lr"] = self.schedule.lr(batch, group.lr, group.start_lr)
            values["weight_decay"] = group.weight_decay
            if "betas" in values:
                first, *others = optimizer.defaults["betas"]
                values["betas"] = (self.schedule.momentum(batch, first), *others)
            elif "momentum" in values:
                values["momentum"] = self.schedule.momentum(batch, optimizer.defaults["momentum"])


def _groups(model: nn.Module, schedule: Schedule) -> list[Group]:
    """Group by kind and learning-rate factor: weights decay; biases, norms, gates and other lists of single numbers do not."""
    recipe = schedule.recipe
    assert recipe.optimizer is not None, "derive() names the optimizer"
    check_roles(model, recipe.lr_scale, "recipe.lr_scale")
    weight_decay = recipe.optimizer.weight_decay * schedule.weight_decay_factor
    found: dict[tuple[str, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = "bias" if name.endswith("bias") else "vector" if math.prod(parameter.shape[1:]) == 1 else "weight"
            found.setdefault((kind, _scale(name, recipe.lr_scale)), []).append(parameter)
    return [
        Group(
            parameters,
            lr=recipe.optimizer.lr * scale,
            start_lr=(recipe.warmup_bias_lr or 0.0) * scale if kind == "bias" else 0.0,
            weight_decay=weight_decay if kind == "weight" else 0.0,
        )
        for (kind, scale), parameters in sorted(found.items(), key=lambda item: item[0])
    ]


def _scale(name: str, scales: dict[str, float]) -> float:
    """Return the factor of the longest role that ``name`` lies below; 1 without one."""
    role = closest(name, scales)
    return 1.0 if role is None else scales[role]
