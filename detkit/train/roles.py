"""Choosing parameters by role: ``backbone`` or ``backbone.stages.0`` names a module (or parameter) and all below it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.nn.norm import FrozenNorm
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
    """Build the model before any data is read, without memory for its weights where it can be, and check it and its roles.

    Raises:
        UserError: parts that do not fit together, an unknown role, nothing is left to train, or frozen norms and no weights.
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
    if experiment.init is None:
        check_frozen_norms(model, set(model.state_dict()))


def check_frozen_norms(model: nn.Module, initial: Collection[str]) -> None:
    """Refuse to train behind frozen batch norms whose statistics nobody has ever measured.

    Args:
        model: what is to be trained.
        initial: names of the tensors that were not loaded.

    Raises:
        UserError: a frozen norm is among them.
    """
    for name, module in model.named_modules():
        if isinstance(module, FrozenNorm) and f"{name}.running_mean" in initial:
            raise UserError(
                f"{name} is a frozen batch norm with its initial statistics, so this network cannot learn; to train from "
                'scratch write norm="batch" in the config (model.backbone.norm=batch on the command line), or name weights '
                "that hold it in init"
            )


def freeze(model: nn.Module, roles: Iterable[str]) -> None:
    """Stop the parameters of ``roles`` from training.

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


def norms_below(model: nn.Module, roles: Collection[str]) -> list[nn.Module]:
    """Return the batch norms of frozen ``roles``, which must stay in evaluation mode: else their statistics would move."""
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and any(below(name, role) for role in roles)
    ]
