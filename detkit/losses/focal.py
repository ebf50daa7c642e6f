"""Focal loss: what is classified well already counts little.

Lin, Goyal, Girshick, He, Dollár: Focal Loss for Dense Object Detection. ICCV 2017, arXiv:1708.02002, equation 5:
-alpha (1 - p)^gamma log p where the class is present, -(1 - alpha) p^gamma log(1 - p) elsewhere.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from detkit.parts import ClassLoss, ClassLossSpec


class Focal(ClassLossSpec):
    """Cross entropy weighed by how wrong the score is; the quality of the box doesn't matter."""

    alpha: float = Field(0.25, ge=0, le=1)
    """Weight of present classes; absent ones have the rest."""
    gamma: float = Field(2.0, ge=0)
    """Power of the error that weighs."""

    def build(self) -> ClassLoss:
        """Return the loss."""
        return FocalLoss(self.alpha, self.gamma)


class FocalLoss(ClassLoss):
    """Focal loss of logits."""

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0) -> None:
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def absent(self, logits: Tensor) -> Tensor:
        """Logits (...) -> (...): (1 - alpha) p^gamma * -log(1 - p)."""
        return (1 - self.alpha) * logits.sigmoid().pow(self.gamma) * F.softplus(logits)

    def present(self, logits: Tensor, quality: Tensor | None = None) -> Tensor:
        """Logits (...) -> (...): alpha (1 - p)^gamma * -log p, whatever the quality."""
        return self.alpha * (-logits).sigmoid().pow(self.gamma) * F.softplus(-logits)
