"""Matchability-aware loss: badly fitting boxes are learnt too, so that dense matches help.

Huang, Lu, Cun, Yu, Zhou, Shen: DEIM: DETR with Improved Matching for Fast Convergence. CVPR 2025, arXiv:2412.04234:
with the score p and the quality q of the box, BCE(p, q^gamma) where the class is present, p^gamma * BCE(p, 0)
elsewhere. The weight p^gamma takes no gradient.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from detkit.parts import ClassLoss, ClassLossSpec


class MAL(ClassLossSpec):
    """Binary cross entropy against a power of the quality; unlike varifocal loss, a match of low quality counts in full."""

    gamma: float = Field(1.5, ge=0)
    """Power of the quality to learn, and of the score that weighs absent classes."""

    def build(self) -> ClassLoss:
        """Return the loss."""
        return MatchabilityAwareLoss(self.gamma)


class MatchabilityAwareLoss(ClassLoss):
    """Matchability-aware loss of logits."""

    def __init__(self, gamma: float = 1.5) -> None:
        super().__init__()
        self.gamma = gamma

    def absent(self, logits: Tensor) -> Tensor:
        """Logits (...) -> (...): p^gamma * -log(1 - p)."""
        return logits.detach().sigmoid().pow(self.gamma) * F.softplus(logits)

    def present(self, logits: Tensor, quality: Tensor) -> Tensor:
        """Logits (...), quality (...) -> (...): BCE(p, q^gamma)."""
        return F.softplus(logits) - quality.pow(self.gamma) * logits
