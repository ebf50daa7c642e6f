"""Distribution focal loss: a distance as a distribution over bins.

Li, Wang, Wu, Chen, Hu, Li, Tang, Yang: Generalized Focal Loss: Learning Qualified and Distributed Bounding Boxes for Dense
Object Detection. NeurIPS 2020, arXiv:2006.04388, equation 6: with y between the bins i and i + 1,
loss = -((i + 1 - y) log p_i + (y - i) log p_{i+1}); the predicted distance is the mean, sum of i p_i.
"""

from __future__ import annotations

import torch
from torch import Tensor

from detkit.boxes import lift

MARGIN = 0.01
"""Targets stay this far below the last bin, so that both neighbours exist."""


def distribution_focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Logits (..., bins) of a distance and its target (...) in bins -> loss (...); targets beyond the bins are clamped."""
    logits = lift(logits)
    target = target.to(logits.dtype).clamp(0, logits.shape[-1] - 1 - MARGIN)
    lower = target.floor()
    bins = torch.where(lower > 0, lower, 0).long().unsqueeze(-1)  # what is not a number has no bin of its own
    log_p = logits.log_softmax(-1)
    near = log_p.gather(-1, bins).squeeze(-1)
    far = log_p.gather(-1, bins + 1).squeeze(-1)
    return -torch.lerp(near, far, target - lower)


def expected_distance(logits: Tensor) -> Tensor:
    """Logits (..., bins) -> the mean of the distribution (...), in bins."""
    logits = lift(logits)
    bins = torch.arange(logits.shape[-1], device=logits.device, dtype=logits.dtype)
    return (logits.softmax(-1) * bins).sum(-1)
