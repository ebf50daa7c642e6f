"""Choosing parameters by role: ``backbone`` or ``backbone.stages.0`` names a module (or parameter) and all below it.

``*`` stands for any one word: ``backbone.stages.*.downsample``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.nn.norm import FrozenNorm
from detkit.nn.weightless import weightless
from detkit.recipes import Recipe
from detkit.spec import SpecError, suggestion


def below(name: str, role: str) -> bool:
    """Say whether the dotted ``name`` is ``role`` or lies below it."""
    words, wanted = name.split("."), role.split(".")
    return len(words) >= len(wanted) and all(one in (word, "*") for one, word in zip(wanted, words, strict=False))


def closest(name: str, roles: Iterable[str]) -> str | None:
    """Return the role that says most of the dotted ``name``: of most words, and of fewest ``*``; None where none does."""
    fitting = [role for role in roles if below(name, role)]
    return max(fitting, key=lambda role: (role.count("."), -role.count("*")), default=None)


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
    model = weightless(experiment.model, 2)  # the number of classes is not known yet
    check_roles(model, experiment.recipe.lr_scale, "recipe.lr_scale")
    norms = experiment.recipe.freeze_norms
    if norms is True and experiment.init is None:
        raise SpecError(
            "recipe.freeze_norms", "true keeps batch norms as init loads them, and init names no weights; write init=FILE"
        )
    freeze_norms(model, () if isinstance(norms, bool) else norms)
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


def freeze_norms(model: nn.Module, roles: Iterable[str]) -> None:
    """Stop scale and shift of the batch norms of ``roles`` from training.

    Raises:
        SpecError: a role without batch norms.
    """
    for role in roles:
        norms = norms_below(model, [role])
        if not norms:
            depth = role.count(".") + 1
            near = dict.fromkeys(".".join(name.split(".")[:depth]) for name in norms_below(model, ["*"]))
            raise SpecError("recipe.freeze_norms", f"the model has no batch norms in '{role}'{suggestion(role, near)}")
        for norm in norms.values():
            norm.requires_grad_(False)


def norms_below(model: nn.Module, roles: Collection[str]) -> dict[str, nn.Module]:
    """Return the batch norms of ``roles`` by name. Frozen ones must stay in evaluation mode, or their statistics would move."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and any(below(name, role) for role in roles)
    }


def norm_roles(recipe: Recipe) -> tuple[str, ...]:
    """Return the roles of ``recipe.freeze_norms``, which `with_loaded_norms` has named."""
    assert recipe.freeze_norms is not True, "with_loaded_norms() names them"
    return recipe.freeze_norms or ()


def with_loaded_norms(recipe: Recipe, model: nn.Module, loaded: Collection[str]) -> Recipe:
    """Return the recipe with ``freeze_norms`` as roles, where it asks for all norms that weights were loaded into.

    Args:
        recipe: of the run.
        model: what is to be trained.
        loaded: names of the tensors that were loaded.

    Raises:
        SpecError: none were.
    """
    if recipe.freeze_norms is not True:
        return recipe
    norms = norms_below(model, ["*"])
    chosen = {name for name in norms if f"{name}.running_mean" in loaded}
    if not chosen:
        raise SpecError("recipe.freeze_norms", "true keeps batch norms as init loads them, and it holds none that fit")
    return recipe.model_copy(update={"freeze_norms": tuple(covering(chosen, norms))})


def covering(chosen: Collection[str], names: Iterable[str], depth: int = 1) -> list[str]:
    """Return the shortest list of roles that all the ``chosen`` of dotted ``names`` lie below, and no others."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(".".join(name.split(".")[:depth]), []).append(name)
    found: list[str] = []
    for role, inside in groups.items():
        if all(name in chosen for name in inside):
            found.append(role)
        elif len(inside) > 1:
            found.extend(covering(chosen, inside, depth + 1))
    return found
