"""Several processes, perhaps on several machines: which one writes, and that all of them do the same work.

Processes that had read other files, or started from other checkpoints, would wait for one another for ever, or average the
gradients of different networks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only

from detkit.data.annotations import Annotations
from detkit.data.fingerprint import fingerprint
from detkit.errors import UserError
from detkit.train.gather import gathered
from detkit.train.loaders import Loaders


def is_first_process(options: Mapping[str, Any]) -> bool:
    """Say whether this is the first of all processes, the one that writes, before there is a Trainer to ask.

    Every launcher tells its processes their rank, but for the ones that a user starts by hand on each machine: these have
    only a node's number.

    Args:
        options: of the Trainer.
    """
    node = LightningEnvironment().node_rank() if options.get("num_nodes", 1) > 1 else 0
    return node == 0 and getattr(rank_zero_only, "rank", 0) == 0


class Agreement(Callback):
    """Refuses to start where processes have other settings, data or checkpoints than the first."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare what all processes were told and have read, before they build anything together."""
        loaders = cast(Loaders, trainer.datamodule)  # type: ignore[attr-defined]
        experiment = loaders.experiment
        settings = [experiment.model, experiment.recipe, experiment.data.shape, experiment.data.resize, experiment.seed]
        found = {"settings": hashlib.sha256(repr(settings).encode()).hexdigest(), "validation images": _digest(loaders.val)}
        if loaders.train is not None:
            found["training images"] = _digest(loaders.train)
        _compare(trainer, {f"other {name}": value for name, value in found.items()})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare where processes go on from."""
        _compare(trainer, {"another checkpoint": f"{trainer.current_epoch} {trainer.global_step}"})


def _compare(trainer: Trainer, mine: dict[str, str]) -> None:
    """Check that all processes have the same of each kind.

    Raises:
        UserError: one has something else; all of them raise it.
    """
    first, *others = gathered(trainer, mine)
    for rank, share in enumerate(others, 1):
        for kind, value in share.items():
            if value != first[kind]:
                raise UserError(
                    f"process {rank} has {kind} than the first; start every node with the same command, and give each the same "
                    "data and, with --resume, the same run folder (a copy where they share none)"
                )


def _digest(annotations: Annotations) -> str:
    """Return what changes when images, their ids or boxes do; the folders where they lie may differ."""
    return fingerprint(annotations)["sha256"] + hashlib.sha256(annotations.image_ids.tobytes()).hexdigest()
