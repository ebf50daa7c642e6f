"""Weights that timm publishes, by the name of a network: ``init.backbone=timm``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch

from detkit.backbones.timm_backbone import check_name, timm_package
from detkit.errors import UserError
from detkit.weights.family import family_of
from detkit.weights.read import Weights

Colour = tuple[float, float, float]
"""A number for each of red, green and blue."""


class Pretrained(NamedTuple):
    """What timm publishes for a network.

    Attributes:
        weights: under timm's names, as timm has converted them where their authors' are others.
        mean: that was subtracted from the images, in [0, 1], that they were trained on.
        std: that these were divided by.
    """

    weights: Weights
    mean: Colour
    std: Colour


def pretrained(name: str) -> Pretrained:
    """Return the weights of a network of timm, downloaded unless Hugging Face's or torch's cache has them.

    Args:
        name: of the network, with a tag (``resnet18.a1_in1k``) where other weights than timm's first choice are wanted.

    Raises:
        UserError: timm lacks the network, or weights of it, or they cannot be had.
    """
    timm = timm_package("init.backbone=timm")
    check_name(timm, name)
    if not timm.is_model_pretrained(name):
        raise UserError(f"timm publishes no weights of {name}")
    try:
        with torch.random.fork_rng(devices=()):  # it draws initial weights before it loads these
            network = timm.create_model(name, pretrained=True, num_classes=0)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"timm's weights of {name} are not in this machine's cache and could not be downloaded: {reason} "
            "Where there is no network, download them elsewhere and write init.backbone=FILE"
        ) from None
    described = network.pretrained_cfg
    state = network.state_dict()
    weights = Weights(
        path=Path(f"timm/{described['architecture']}.{described['tag']}"),
        state=state,
        form=f"weights of timm {timm.__version__}",
        family=family_of(state),
        licence=described.get("license") or "",
    )
    return Pretrained(weights, described["mean"], described["std"])
