"""WIoU loss: far boxes count more, and boxes that fit unusually badly, or well, count less.

Tong, Chen, Xu, Yu: Wise-IoU: Bounding Box Regression Loss with Dynamic Focusing Mechanism. 2023, arXiv:2301.10051.
Version 1: R * (1 - IoU), R = e^((d / c)^2), with the distance d of the centres and the diagonal c of the smallest box around
both, which takes no gradient. Versions 2 and 3 multiply by a weight of the outlier degree b = (1 - IoU) / running mean of it,
without gradient: version 2 by b^gamma, version 3 by b / (delta * alpha^(b - delta)), which favours boxes of ordinary fit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from detkit import boxes
from detkit.losses.reduce import sum_over_processes
from detkit.parts import BoxLoss, BoxLossSpec, Overlap


class WIoU(BoxLossSpec):
    """1 - IoU, weighed by the distance of the centres and by how usual the fit is."""

    version: Literal[1, 2, 3] = 3
    """1 weighs by distance alone; 2 counts badly fitting boxes more; 3 counts both them and well fitting ones less."""
    alpha: float = Field(1.9, gt=1)
    """Of version 3: how steeply the weight falls for outliers."""
    delta: float = Field(3.0, gt=0)
    """Of version 3: the outlier degree whose weight is 1."""
    gamma: float = Field(0.5, gt=0)
    """Of version 2: power of the outlier degree."""
    steps: PositiveInt = 30_260
    """Calls in training until the mean, 1 at the start, has lost 95 % of its start; the paper has 34 epochs of 890 batches."""

    def build(self, overlap: Overlap = boxes.iou) -> BoxLoss:
        """Return the loss."""
        if self.version == 1:
            return WIoULoss(overlap)
        focus = partial(non_monotonic, self.alpha, self.delta) if self.version == 3 else partial(monotonic, self.gamma)
        return WIoULoss(overlap, focus, momentum=1 - 0.05 ** (1 / self.steps))


class WIoULoss(BoxLoss):
    """R * (1 - IoU), times a weight of the outlier degree from version 2 on.

    Args:
        overlap: in the place of the IoU.
        focus: outlier degrees (...) -> weights (...); None for version 1.
        momentum: of the running mean of 1 - IoU.
    """

    def __init__(
        self,
        overlap: Overlap = boxes.iou,
        focus: Callable[[Tensor], Tensor] | None = None,
        momentum: float = 1e-4,
    ) -> None:
        super().__init__(overlap)
        self.focus = focus
        self.mean = None if focus is None else RunningMean(momentum)

    def forward(self, predicted: Tensor, target: Tensor, valid: Tensor | None = None, size: Tensor | None = None) -> Tensor:
        """(..., 4), (..., 4) -> (...)."""
        loss = 1 - self.overlap(predicted, target)
        weight = farness(predicted, target)
        if self.focus is not None and self.mean is not None:
            mean = self.mean(loss.detach(), valid)
            weight = weight * self.focus(boxes.ratio(loss.detach(), mean.to(loss.dtype)))
        return weight * loss


def monotonic(gamma: float, degree: Tensor) -> Tensor:
    """Outlier degrees (...) -> the weights (...) of version 2."""
    return degree.pow(gamma)


def non_monotonic(alpha: float, delta: float, degree: Tensor) -> Tensor:
    """Outlier degrees (...) -> the weights (...) of version 3."""
    return degree / (delta * alpha ** (degree - delta))


def farness(predicted: Tensor, target: Tensor) -> Tensor:
    """Return R (...), in [1, e]."""
    width, height = boxes.hull(predicted, target)
    diagonal = (width.square() + height.square()).detach()
    return boxes.ratio(boxes.centre_distance(predicted, target), diagonal).clamp(max=1).exp()  # inverted boxes exceed 1


class RunningMean(nn.Module):
    """An exponential running mean over the batches of all processes.

    It stays in single precision where its module is moved to half: steps of ``momentum`` would be rounded away.

    Args:
        momentum: weight of the latest batch.
    """

    value: Tensor

    def __init__(self, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.ones(()))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> RunningMean:
        exact = self.value
        super()._apply(fn, recurse)
        if self.value.dtype in (torch.float16, torch.bfloat16):
            self.value = exact.to(self.value.device)
        return self

    @torch.no_grad()
    def forward(self, values: Tensor, valid: Tensor | None) -> Tensor:
        """Return the mean (); in training, first move it towards the mean of those ``values`` (...) that are ``valid``."""
        if self.training:
            valid = torch.ones_like(values) if valid is None else valid.to(values.dtype)
            total, count = sum_over_processes(torch.stack((values.where(valid > 0, 0).sum(), valid.sum()))).unbind()
            change = (total / count.clamp(min=1)).to(self.value.dtype) - self.value
            self.value += self.momentum * change * (count > 0)
        return self.value
