"""The backbones that we don't write: any network of timm that gives a pyramid of maps.

timm (PyTorch Image Models, Ross Wightman) is an optional package, and imported only where such a backbone is built.
"""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from math import lcm
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detkit.errors import MissingPackage, UserError
from detkit.parts import Backbone, BackboneSpec
from detkit.structures import Level

ANY_SIZE = {"dynamic_img_size": True, "strict_img_size": False, "dynamic_mask": True}
"""What networks of timm that were made for images of one size are told, so that they take any; each knows some of them."""


class TimmBackbone(BackboneSpec):
    """A network of timm by its name, with the strides that it gives; needs ``pip install "detkit[timm]"``.

    ``init.backbone=timm`` loads the weights that timm publishes for it.
    """

    name: str = "resnet18"
    """Of the network, and of its weights where there are several: ``convnext_tiny``, ``resnet18.a1_in1k``."""

    @property
    def timm_name(self) -> str:
        """The network's name in timm."""
        return self.name

    def build(self, levels: Sequence[int] | None = None) -> Backbone:
        """Return the backbone with its levels, or those of the strides ``levels`` that it has."""
        timm = timm_package(f"TimmBackbone(name='{self.name}')")
        check_name(timm, self.name)
        with torch.device("meta"):
            known = inspect.signature(type(timm.create_model(self.name, num_classes=0)).__init__).parameters
            options = {option: value for option, value in ANY_SIZE.items() if option in known}
            check_pyramid(self.name, TimmPyramid(timm.create_model(self.name, num_classes=0, **options), levels))
        return TimmPyramid(timm.create_model(self.name, num_classes=0, **options), levels)


class TimmPyramid(Backbone):
    """Cuts a network of timm off after the coarsest level that is read; the last map of each stride is its level.

    Images are padded with zeros, on the right and below, to whole cells of the network's coarsest map, and maps cut back:
    strides round up here, and down in many networks of timm. Where branches of all strides run through the whole network, as in
    HRNet, what serves unread levels alone cannot be cut off and stays.

    Args:
        network: of timm, without a classifier.
        levels: strides asked for; None for all.
    """

    def __init__(self, network: Any, levels: Sequence[int] | None) -> None:
        super().__init__()
        given = {info["reduction"]: (index, info["num_chs"]) for index, info in enumerate(network.feature_info)}
        taps = {Level(width, stride): index for stride, (index, width) in given.items() if levels is None or stride in levels}
        if not taps:
            raise UserError(f"TimmBackbone gives strides {', '.join(map(str, given))}; none of them is asked for")
        self.out = tuple(taps)
        self.multiple = lcm(*given)
        self.taps = network.prune_intermediate_layers(list(taps.values()), prune_norm=True, prune_head=True)
        self.network = network

    @cached_property
    def timm(self) -> Mapping[str, str | None]:
        """The names in timm: those below the network."""
        first = (name.split(".")[0] for name in self.network.state_dict())
        return {name: f"network.{name}" for name in dict.fromkeys(first)}

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> for each level of ``out`` (B, channels, H / stride, W / stride), rounded up."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % self.multiple, 0, -height % self.multiple))
        maps = self.network.forward_intermediates(padded, indices=self.taps, intermediates_only=True)
        strides = (level.stride for level in self.out)
        return [x[..., : -(-height // s), : -(-width // s)] for x, s in zip(maps, strides, strict=True)]

    def fused(self) -> nn.Module:
        """Return a copy whose branches timm has merged, where the network has any; its batch norms stay."""
        from timm.utils import reparameterize_model

        twin = copy.deepcopy(self)
        reparameterize_model(twin.network, inplace=True)
        return twin


def timm_package(wanted: str) -> ModuleType:
    """Import timm.

    Args:
        wanted: what needs it.

    Raises:
        MissingPackage: it is not installed.
    """
    if find_spec("timm") is None:
        raise MissingPackage(f'{wanted} needs the package timm, which is not installed; pip install "detkit[timm]"')
    import timm

    return timm


def check_name(timm: Any, name: str) -> None:
    """Check that timm has a network of this name, and weights of the tag after it.

    Raises:
        UserError: it hasn't; suggests the closest.
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise UserError(f"timm {timm.__version__} has no network '{architecture}'{_closest(architecture, timm.list_models())}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UserError(
            f"timm {timm.__version__} has no weights '{tag}' of {architecture}; there are: {', '.join(tags) or 'none'}"
        )


def check_pyramid(name: str, pyramid: TimmPyramid) -> None:
    """Check that a network takes images of any size, and that its maps are of the sizes that timm says.

    Args:
        name: of the network.
        pyramid: made of it on the meta device, so that nothing is computed.

    Raises:
        UserError: it doesn't, or they aren't.
    """
    height, width = 2 * pyramid.multiple, 3 * pyramid.multiple
    try:
        maps = pyramid.eval()(torch.zeros(1, 3, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"timm's {name} does not take images of any size ({reason}); choose one that does, such as convnext_tiny"
        ) from None
    for level, found in zip(pyramid.out, maps, strict=True):
        expected = (1, level.channels, height // level.stride, width // level.stride)
        if tuple(found.shape) != expected:
            raise UserError(
                f"timm's {name} gives a map {tuple(found.shape)} of an image of {height}x{width} where one of stride "
                f"{level.stride} is {expected}; choose another network"
            )


def _closest(name: str, known: Sequence[str]) -> str:
    """Return a question with the closest names, or where all are told."""
    close = difflib.get_close_matches(name, known, 3, 0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else "; timm.list_models() tells all"
