"""Varifocal loss: a class score learns how well its box fits; the class loss of RT-DETR.

Zhang, Wang, Dayoub, Suenderhauf: VarifocalNet: An IoU-aware Dense Object Detector. CVPR 2021, arXiv:2008.13367, equation 2:
with the score p and the quality q of the box, q * BCE(p, q) where the class is present, alpha p^gamma * BCE(p, 0) elsewhere.
The weights q and p^gamma take no gradient.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from detkit.parts import ClassLoss, ClassLossSpec


class Varifocal(ClassLossSpec):
    """Binary cross entropy against the quality, weighed by it; absent classes are weighed by their score."""

    alpha: float = Field(0.75, ge=0)
    """Weight of absent classes."""
    gamma: float = Field(2.0, ge=0)
    """Power of the score that weighs absent classes."""

    def build(self) -> ClassLoss:
        """Return the loss."""
        return VarifocalLoss(self.alpha, self.gamma)


class VarifocalLoss(ClassLoss):
    """Varifocal loss of logits."""

    def __init__(self, alpha: float = 0.75, gamma: float = 2.0) -> None:
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def absent(self, logits: Tensor) -> Tensor:
        """Logits (...) -> (...): alpha p^gamma * -log(1 - p)."""
        return self.alpha * logits.detach().sigmoid().pow(self.gamma) * F.softplus(logits)

    def present(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Logits (...), quality (...) -> (...): q * BCE(p, q)."""
        return quality * (F.softplus(logits) - quality * logits)
