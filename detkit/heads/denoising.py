"""Contrastive denoising: boxes with noise, to be repaired or refused, train the decoder beside its own queries.

DN-DETR: Feng Li et al., 2022, arXiv:2203.01305. DINO: Hao Zhang et al., 2022, arXiv:2203.03605 (little noise: give the box
back; much noise: call it background).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from detkit.boxes import clip, normalise, to_cxcywh, to_xyxy
from detkit.structures import Targets

EPSILON = 1e-5
"""Least share of the input's side that a noisy box may have."""


class NoisyQueries(NamedTuple):
    """D queries that hold targets with noise: first all with little noise, then all with much.

    Attributes:
        content: (B, D, C) embedded classes, some of them wrong.
        boxes: (B, D, 4) cxcywh, normalised to the input.
        target: (B, D) int64, index of the box that each was made from.
        positive: (B, D) bool, little noise.
        share: (B, D), 1 / the groups of the image; 0 where it has no box to fill the place.
        group: (B, D) int64; queries of one group hold every box once with little and once with much noise. -1: not real.
    """

    content: Tensor
    boxes: Tensor
    target: Tensor
    positive: Tensor
    share: Tensor
    group: Tensor


class Denoising(nn.Module):
    """Makes queries from targets; each image's boxes are repeated in groups until its places are full.

    All shapes follow from the padded targets, so no device is asked for a count. Official code gives every image of a
    batch the groups of the one with the most boxes; here an image has as many as its own boxes leave room for, and ``share``
    lets every box weigh the same, as there.

    Args:
        places: queries with little noise an image, as many with much; more if an image has more boxes.
        channels: of a query.
        num_classes: of the data.
        label_noise: half of this share of the queries gets a random class.
        box_noise: largest displacement of a corner, in half sides; from one to two times that in queries with much noise.
    """

    class_tensors = ("embedding.weight",)
    """Names of those with a row for each class; the last row is that of no class."""

    def __init__(self, places: int, channels: int, num_classes: int, label_noise: float, box_noise: float) -> None:
        super().__init__()
        self.places, self.num_classes = places, num_classes
        self.label_noise, self.box_noise = label_noise, box_noise
        self.embedding = nn.Embedding(num_classes + 1, channels, padding_idx=num_classes)

    def forward(self, targets: Targets, size: tuple[int, int]) -> NoisyQueries:
        """Put noise on the targets of inputs of ``size`` (height, width)."""
        device = targets.boxes.device
        places = max(self.places, targets.labels.shape[1])
        place = torch.arange(places, device=device)
        counts = targets.counts.clamp(min=1)[:, None]
        group = place // counts
        groups = places // counts
        real = (group < groups) & (targets.counts[:, None] > 0)
        target, group = (place % counts).repeat(1, 2), group.where(real, -1).repeat(1, 2)
        real, positive = real.repeat(1, 2), (torch.arange(2 * places, device=device) < places).expand(len(counts), -1)
        share = (real / groups).to(targets.boxes.dtype)
        labels = self._noisy_labels(targets.labels.gather(1, target)).where(real, self.num_classes)
        boxes = self._noisy_boxes(targets.boxes.take_along_dim(target.unsqueeze(-1), 1), positive, size)
        return NoisyQueries(self.embedding(labels), boxes, target, positive, share, group)

    def _noisy_labels(self, labels: Tensor) -> Tensor:
        """(B, D) -> same."""
        chance = torch.rand(labels.shape, device=labels.device)
        return torch.randint_like(labels, self.num_classes).where(chance < self.label_noise / 2, labels)

    def _noisy_boxes(self, boxes: Tensor, positive: Tensor, size: tuple[int, int]) -> Tensor:
        """Xyxy pixels (B, D, 4) -> normalised cxcywh, each corner displaced; corners that cross leave the smallest box."""
        boxes = normalise(to_cxcywh(boxes), size)
        amount = torch.rand_like(boxes) + (~positive).unsqueeze(-1)
        sign = torch.randint_like(boxes, 2) * 2 - 1
        noise = sign * amount * self.box_noise * boxes[..., 2:].repeat(1, 1, 2) / 2
        return to_cxcywh(clip(to_xyxy(boxes) + noise, (1, 1))).clamp(EPSILON, 1 - EPSILON)


def attention_mask(group: Tensor, queries: int) -> Tensor:
    """Return whom noisy queries may look at, (B, D, D + Q) bool: their own group and all matched queries.

    Matched queries look at one another alone, which needs no mask.

    Args:
        group: (B, D) of the noisy queries, which come first.
        queries: Q, matched queries.
    """
    own = group.unsqueeze(2) == group.unsqueeze(1)
    return torch.cat((own, own.new_ones(*group.shape, queries)), 2)
