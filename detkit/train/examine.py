"""Where a step stops being finite: which loss, which module, which images, which gradient."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from detkit.parts import Detector
from detkit.structures import Batch, Targets

MANY = 300
"""Boxes of one image from which on they are worth a note."""
WHOLE = 0.999
"""Share of both sides of the input from which on a box is as large as the image."""


class Finding(NamedTuple):
    """What is not finite in one batch.

    Attributes:
        losses: by name.
        module: the first whose output is not finite, in the order in which they finish: role and class.
        images: places in the batch of what is not finite in that output; empty where it has no row for each image.
        parameter: the first whose gradient is not finite, in the order of the backward pass; looked at where the losses are
            finite, as it says nothing otherwise.
        anomaly: what autograd's anomaly mode says.
    """

    losses: dict[str, float]
    module: str | None = None
    images: tuple[int, ...] = ()
    parameter: str | None = None
    anomaly: str | None = None

    @property
    def bad_losses(self) -> list[str]:
        """Names of the losses that are not finite."""
        return [name for name, loss in self.losses.items() if not math.isfinite(loss)]

    @property
    def healthy(self) -> bool:
        """Whether losses and gradients are finite."""
        return not (self.bad_losses or self.parameter or self.anomaly)


def examine(
    detector: Detector,
    batch: Batch,
    context: Callable[[], AbstractContextManager[Any]],
    scale: float = 1.0,
    anomaly: bool = False,
) -> Finding:
    """Run a batch forward and backward, looking at everything on the way.

    Gradients are lost, and what is drawn, or moves in training, is drawn and moves.

    Args:
        detector: in training mode.
        batch: what it is given.
        context: of the forward pass: autocast.
        scale: that the losses are multiplied by for the backward pass.
        anomaly: use autograd's anomaly mode too.
    """
    detector.zero_grad(set_to_none=True)
    first: dict[str, Any] = {}
    with torch.enable_grad(), _anomaly(first) if anomaly else _watched_gradients(detector, first):
        with context(), _watched_outputs(detector, len(batch.images), first):
            losses = detector(batch.images, batch.targets)
        (sum(losses.values()) * scale).backward()
    detector.zero_grad(set_to_none=True)
    found = Finding({name: loss.item() for name, loss in losses.items()}, **first)
    return found._replace(parameter=None) if found.bad_losses else found


@contextmanager
def _watched_outputs(detector: nn.Module, images: int, first: dict[str, Any]) -> Iterator[None]:
    """Note the first module whose output is not finite; the innermost finish first."""

    def look(name: str, module: nn.Module, _: Any, output: Any) -> None:
        for values in () if "module" in first else _tensors(output):
            bad = ~values.isfinite()
            if bad.any():
                rows = bad.flatten(1).any(1) if bad.dim() > 1 and len(bad) == images else bad.new_zeros(0)
                first["module"], first["images"] = f"{name} ({type(module).__name__})", tuple(rows.nonzero().flatten().tolist())
                return

    with ExitStack() as hooks:
        for name, module in detector.named_modules():
            if name:
                hooks.enter_context(module.register_forward_hook(partial(look, name)))
        yield


@contextmanager
def _watched_gradients(detector: nn.Module, first: dict[str, Any]) -> Iterator[None]:
    """Note the first parameter whose gradient is not finite, as the backward pass comes to it."""

    def look(name: str, parameter: Tensor) -> None:
        if "parameter" not in first and parameter.grad is not None and not parameter.grad.isfinite().all():
            first["parameter"] = name

    with ExitStack() as hooks:
        for name, parameter in detector.named_parameters():
            if parameter.requires_grad:
                hooks.enter_context(parameter.register_post_accumulate_grad_hook(partial(look, name)))
        yield


@contextmanager
def _anomaly(first: dict[str, Any]) -> Iterator[None]:
    """Note what autograd's anomaly mode says, and where in the forward pass it was."""
    with warnings.catch_warnings(record=True) as said, torch.autograd.set_detect_anomaly(True):
        warnings.simplefilter("always")
        try:
            yield
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            first["anomaly"] = "\n".join([str(error), *(str(warning.message) for warning in said)])


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the floating tensors in nested containers."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def odd_boxes(targets: Targets, size: tuple[int, int]) -> list[list[str]]:
    """Return, for each image, what is unusual in its boxes.

    Args:
        targets: of a batch.
        size: (height, width) of the input.
    """
    boxes, mask = targets.boxes, targets.mask
    low, high = boxes[..., :2], boxes[..., 2:]
    sides, limit = high - low, boxes.new_tensor([size[1], size[0]])
    equal = (boxes.unsqueeze(2) == boxes.unsqueeze(1)).all(-1) & (targets.labels.unsqueeze(2) == targets.labels.unsqueeze(1))
    kinds = {
        "not finite": ~boxes.isfinite().all(-1),
        "without area": (sides <= 0).any(-1),
        "thinner than a pixel": ((sides > 0) & (sides < 1)).any(-1),
        "as large as the image": (sides >= WHOLE * limit).all(-1),
        "beyond the border": ((low < 0) | (high > limit)).any(-1),
        "there before": (equal & mask.unsqueeze(1)).tril(-1).any(-1),
    }
    counts = torch.stack([(kind & mask).sum(1) for kind in kinds.values()], 1).tolist()
    notes = [[f"{count} {name}" for name, count in zip(kinds, row, strict=True) if count] for row in counts]
    for count, note in zip(targets.counts.tolist(), notes, strict=True):
        if count >= MANY:
            note.append(f"{count} in all")
    return notes
