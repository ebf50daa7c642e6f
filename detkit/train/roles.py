"""Choosing parameters by role: ``backbone`` or ``backbone.stages.0`` names a module (or parameter) and all below it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.experiment import Experiment
from detkit.spec import SpecError, suggestion


def below(name: str, role: str) -> bool:
    """Say whether the dotted ``name`` is ``role`` or lies below it."""
    return name == role or name.startswith(role + ".")


def check_roles(model: nn.Module, roles: Iterable[str], where: str) -> None:
    """Check that every role names a part of ``model`` with parameters.

    Raises:
        SpecError: one does not; suggests the closest of its siblings.
    """
    names = [name for name, _ in model.named_parameters()]
    for role in roles:
        if any(below(name, role) for name in names):
            continue
        depth = role.count(".") + 1
        near = dict.fromkeys(".".join(name.split(".")[:depth]) for name in names)
        raise SpecError(where, f"the model has no part '{role}' with parameters{suggestion(role, near)}")


def check_model(experiment: Experiment) -> None:
    """Build the model before any data is read, without memory for its weights where it can be, and check the recipe's roles.

    Raises:
        UserError: parts that do not fit together, an unknown role, or nothing is left to train.
    """
    classes = 2  # their number is not known yet
    try:
        with torch.device("meta"):
            model = experiment.model.build(classes)
    except (RuntimeError, NotImplementedError):  # a part that reads a tensor, as in torch.linspace(0, rate, depth).tolist()
        with torch.random.fork_rng(devices=()):
            model = experiment.model.build(classes)
    check_roles(model, experiment.recipe.lr_scale, "recipe.lr_scale")
    freeze(model, experiment.recipe.freeze)


def freeze(model: nn.Module, roles: Iterable[str]) -> list[nn.Module]:
    """Stop the parameters of ``roles`` from training.

    Returns:
        Their batch norms, which must stay in evaluation mode: else their statistics would go on moving.

    Raises:
        SpecError: an unknown role, or nothing is left to train.
    """
    roles = tuple(roles)
    check_roles(model, roles, "recipe.freeze")
    for name, parameter in model.named_parameters():
        if any(below(name, role) for role in roles):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise SpecError("recipe.freeze", "nothing is left to train")
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and any(below(name, role) for role in roles)
    ]
