"""Where a run starts from: nothing, other weights, or its own last checkpoint."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detkit.data.fingerprint import fingerprints
from detkit.data.layout import Splits
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.parts import Detector
from detkit.recipes import SGD, Recipe
from detkit.spec import to_dict
from detkit.train.checkpoints import newest_checkpoint
from detkit.train.randomness import seed_all
from detkit.train.roles import below, check_frozen_norms, check_roles, norms_below, with_loaded_norms
from detkit.train.runs import tell
from detkit.train.transplant import BACKBONE, check_shares, planted
from detkit.weights.checkpoint import migrate, read_checkpoint, read_content

FIXED = ("model", "seed")
"""What a resumed run cannot change."""
FIXED_RECIPE = ("freeze", "freeze_norms", "lr_scale")
"""What it cannot change of the recipe: the optimizer's groups of parameters hang on it."""


class Start(NamedTuple):
    """What a new run starts from.

    Attributes:
        detector: with its initial weights.
        experiment: with class branches as wide as they were loaded, and the batch norms named that stay so.
        licence: terms of the weights that it starts from; empty for none, and where they are not known.
    """

    detector: Detector
    experiment: Experiment
    licence: str


def new_detector(experiment: Experiment, num_classes: int, names: Sequence[str] = ()) -> Start:
    """Return the detector with its initial weights, which are a function of the seed and of ``experiment.init``.

    Args:
        experiment: whose detector it is.
        num_classes: of the data.
        names: of the classes by label, by which rows of classes are matched; none: label by label.

    Raises:
        UserError: weights that cannot be used, or roles in the recipe that the detector does not have.
    """
    seed_all(experiment.seed)
    start = planted(experiment, num_classes, names)
    experiment, detector = start.experiment, start.detector
    check_roles(detector, experiment.recipe.freeze, "recipe.freeze")
    check_roles(detector, experiment.recipe.lr_scale, "recipe.lr_scale")
    for note in start.notes:
        tell(note)
    if experiment.init is not None:
        check_shares(experiment.init, start.found)
    loaded = {name for one in start.found for name in one.report.loaded}
    check_frozen_norms(detector, set(detector.state_dict()) - loaded)
    note_slow_backbone(experiment, loaded)
    note_initial_norms(experiment.recipe, detector, loaded)
    terms = dict.fromkeys(one.weights.inherited for one in start.found)
    recipe = with_loaded_norms(experiment.recipe, detector, loaded)
    return Start(detector, experiment.model_copy(update={"recipe": recipe}), "; ".join(filter(None, terms)))


def note_slow_backbone(experiment: Experiment, loaded: Collection[str]) -> None:
    """Tell of a backbone that learns slower than the rest although nothing was loaded into it."""
    slowed = [f"{role} {scale:g}" for role, scale in experiment.recipe.lr_scale.items() if below(role, BACKBONE) and scale < 1]
    if slowed and not any(below(name, BACKBONE) for name in loaded):
        tell(
            f"recipe.lr_scale slows a backbone down ({', '.join(slowed)}) that has nothing loaded into it; write "
            "recipe.lr_scale={} to train it from scratch, or name weights that hold it in init"
        )


def note_initial_norms(recipe: Recipe, detector: Detector, loaded: Collection[str]) -> None:
    """Tell of batch norms that ``recipe.freeze_norms`` names, so that they stay at statistics that nobody has measured."""
    roles = () if isinstance(recipe.freeze_norms, bool) else recipe.freeze_norms
    initial = [name for name in norms_below(detector, roles) if f"{name}.running_mean" not in loaded]
    if initial:
        tell(
            f"recipe.freeze_norms keeps {len(initial)} batch norms at their initial statistics, as nothing was loaded into "
            f"them ({initial[0]}, for example); recipe.freeze_norms=true keeps those alone that were loaded"
        )


def note_learning_rate(experiment: Experiment) -> None:
    """Tell of an optimizer or a learning rate that the model is not known to train with; the recipe must be complete."""
    optimizer, model = experiment.recipe.optimizer, experiment.model
    assert optimizer is not None, "derive() names the optimizer"
    largest = model.largest_lr
    if optimizer.lr > largest or (math.isfinite(largest) and isinstance(optimizer, SGD)):
        tell(
            f"recipe.optimizer: with {type(optimizer).__name__}(lr={optimizer.lr:g}) {type(model).__name__} may learn nothing: "
            f"it is known to train with AdamW up to {largest:g}; write recipe=detr_recipe() in the config, or "
            f"recipe.optimizer=AdamW(lr={largest:g}) or less on the command line"
        )


def checkpoint_to_resume(run: Path, experiment: Experiment) -> Path:
    """Return the checkpoint that a run goes on from.

    Raises:
        UserError: there is none, it is damaged, the run is over, or ``experiment`` is another one's.
    """
    path = newest_checkpoint(run)
    content = migrate(read_content(path), path)
    stored, wanted = content["experiment"], to_dict(experiment)
    for field in FIXED:
        if stored[field] != wanted[field]:
            raise UserError(f"{field}: a resumed run keeps its own; start a new run, with init={path} for its weights")
    if wanted["recipe"]["optimizer"] is None or wanted["recipe"]["optimizer"]["type"] != stored["recipe"]["optimizer"]["type"]:
        raise UserError(f"recipe.optimizer: a resumed run keeps its {stored['recipe']['optimizer']['type']}; start a new run")
    _check_recipe(to_dict(Recipe()) | stored["recipe"], wanted["recipe"], path)
    done = content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if done >= experiment.recipe.epochs:
        raise UserError(f"{run} has finished its {done} epochs; give more with recipe.epochs=<number>")
    return path


def _check_recipe(stored: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Check what the checkpoint's optimizer and averages were made for.

    Raises:
        UserError: it has changed.
    """
    for field in FIXED_RECIPE:
        if stored[field] != wanted[field]:
            kept = f"a resumed run keeps its {field}, {stored[field] or 'empty'}"
            raise UserError(f"recipe.{field}: {kept}; start a new run, with init={path} for its weights")
    if (stored["ema"] is None) != (wanted["ema"] is None):
        kept = "has no averaged weights" if stored["ema"] is None else "keeps averaging its weights"
        raise UserError(f"recipe.ema: a resumed run of this one {kept}; start a new run, with init={path} for its weights")


def check_data(path: Path, splits: Splits) -> None:
    """Check that the data still have the classes of the run, and tell where they are others than it was begun with.

    Raises:
        UserError: they have other classes.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.classes != splits.names:
        known, found = ", ".join(checkpoint.classes), ", ".join(splits.names)
        raise UserError(f"data: the run was trained on the classes {known}; now there are {found}")
    for split, now in fingerprints(splits).items():
        before = checkpoint.data.get(split, now)  # which earlier checkpoints lack
        if before != now:
            tell(
                f"{split}: these are not the data that the run was begun with, {before['images']} images with "
                f"{before['boxes']} boxes; now there are {now['images']} with {now['boxes']}, in another order or with other "
                "names or boxes. Its numbers will not be comparable"
            )
