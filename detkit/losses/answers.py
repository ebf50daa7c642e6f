"""Which predictions answer for which boxes, and the sums of class and box losses over them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from detkit.boxes import iou, lift, to_xyxy
from detkit.parts import BoxLoss, ClassLoss
from detkit.structures import Targets


class Answers(NamedTuple):
    """Predictions of L layers, and S slots an image that say which of them answer for which boxes.

    Attributes:
        scores: (L, B, Q, C) class logits.
        boxes: (L, B, Q, 4) cxcywh, normalised.
        prediction: (L, B, S) int64, below Q; no prediction fills two slots of its layer.
        target: (L, B, S) int64, below M.
        weight: (L, B, S) numbers or bool, of the box terms; zero where the slot is empty.
        quality: (L, B, S) in [0, 1], the class score to learn; None for the IoU of the predicted box.
        share: (B, Q), how much the classes of each prediction count; None for 1.
    """

    scores: Tensor
    boxes: Tensor
    prediction: Tensor
    target: Tensor
    weight: Tensor
    quality: Tensor | None = None
    share: Tensor | None = None


def sums(answers: Answers, truth: Targets, class_loss: ClassLoss, box_loss: BoxLoss) -> Tensor:
    """Return the sums (L, 3) of class, L1 and box loss of each layer.

    Args:
        answers: the predictions.
        truth: boxes cxcywh, normalised.
        class_loss: of every logit.
        box_loss: of the boxes in the slots.
    """
    layers, filled = len(answers.scores), answers.weight > 0
    predicted = lift(answers.boxes).take_along_dim(answers.prediction.unsqueeze(-1), 2)
    target = truth.boxes.to(predicted.dtype).expand(layers, -1, -1, -1).take_along_dim(answers.target.unsqueeze(-1), 2)
    weight = answers.weight.to(predicted.dtype)
    corners, wanted = to_xyxy(predicted), to_xyxy(target)
    l1 = (predicted - target).abs().sum(-1) * weight
    box = box_loss(corners, wanted, filled, corners.new_ones(2)) * weight
    quality = iou(corners.detach(), wanted) if answers.quality is None else answers.quality
    label = truth.labels.expand(layers, -1, -1).gather(2, answers.target)
    classes = class_sums(answers, label, quality, filled, class_loss)
    return torch.stack((classes.to(box.dtype), l1.sum((1, 2)), box.sum((1, 2))), -1)


def class_sums(answers: Answers, label: Tensor, quality: Tensor, filled: Tensor, loss: ClassLoss) -> Tensor:
    """Return the class losses (L,), summed over all predictions and classes of each layer.

    Classes are absent nearly everywhere. So all logits are counted as absent first, and those of the filled slots corrected:
    targets are never laid out beside the logits.

    Args:
        answers: the predictions.
        label: (L, B, S) the class of each slot's box.
        quality: (L, B, S) how well the predicted box fits.
        filled: (L, B, S) bool.
        loss: of one logit.
    """
    scores = lift(answers.scores)
    absent = loss.absent(scores).sum(-1)
    logit = scores.flatten(2).gather(2, answers.prediction * scores.shape[-1] + label)
    correction = (loss.present(logit, quality.to(logit.dtype)) - loss.absent(logit)).where(filled, 0)
    if answers.share is not None:
        share = answers.share.to(absent.dtype).expand_as(absent)
        absent, correction = (absent * share).where(share > 0, 0), correction * share.gather(2, answers.prediction)
    return absent.sum((1, 2)) + correction.sum((1, 2))
