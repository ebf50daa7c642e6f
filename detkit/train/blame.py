"""What is known of a step that broke, process by process, and the words for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from detkit.train.examine import Finding
from detkit.train.record import Tried

SHOWN = 6
"""Names that a sentence lists."""


class Share(NamedTuple):
    """What one process knows.

    Attributes:
        losses: those of its batches that are not finite, by name.
        images: files of these batches; of all of the step's where all losses are finite.
        file: for replay; written by the processes with such losses, by all where there are none.
    """

    losses: dict[str, float]
    images: tuple[str, ...]
    file: str

    @classmethod
    def of(cls, step: Sequence[Tried], file: Path) -> Share:
        """Read the losses of the batches of a step."""
        lost: dict[str, float] = {}
        batches = []
        for tried in step:
            values = torch.stack(list(tried.losses.values())).tolist()
            bad = {name: value for name, value in zip(tried.losses, values, strict=True) if not math.isfinite(value)}
            batches += [tried] if bad else []
            lost |= bad
        return cls(lost, tuple(image for tried in batches or step for image in tried.files), str(file))


class Blame(NamedTuple):
    """What all processes know together.

    Attributes:
        shares: of the processes whose losses are not finite; of all where there is none.
        gradients: parameters whose gradient is not finite, where the losses are.
    """

    shares: Sequence[Share]
    gradients: Sequence[str] = ()

    @classmethod
    def of(cls, shares: Sequence[Share], detector: nn.Module) -> Blame:
        """Find out whose step it is, before the gradients go; later parameters, nearer to the losses as a rule, come first."""
        lost = [share for share in shares if share.losses]
        if lost:
            return cls(lost)
        named = reversed(list(detector.named_parameters()))
        return cls(shares, [name for name, item in named if item.grad is not None and not item.grad.isfinite().all()])

    @property
    def lost(self) -> bool:
        """Whether a loss is not finite."""
        return any(share.losses for share in self.shares)

    def __str__(self) -> str:
        losses = {name: value for share in self.shares for name, value in share.losses.items()}
        what = f"losses that are not finite: {some([f'{name} {value}' for name, value in losses.items()])}"
        if not losses:
            what = f"the losses are finite, but not the gradient of {some(self.gradients) or 'all parameters together'}"
        return f"{what}; images {some([Path(image).name for share in self.shares for image in share.images])}"


def first_parts(findings: Sequence[Finding], step: Sequence[Tried]) -> list[tuple[bool, str]]:
    """Return in words what is first not finite in each batch of a step, and whether no images can be named.

    Where they can, it is where the trouble began: a loss that is divided by a count of all processes fails in all of them.
    """
    words = []
    for found, tried in zip(findings, step, strict=True):
        if found.module is not None:
            images = [Path(tried.files[place]).name for place in found.images]
            whose = f", of {some(images)}" if images else ""
            words.append((not images, f"First not finite is the output of {found.module}{whose}. "))
        elif found.parameter is not None:
            words.append((True, f"First not finite is the gradient of {found.parameter}. "))
    return words


def some(names: Sequence[str]) -> str:
    """Return the first few names, and how many there are beside them."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
