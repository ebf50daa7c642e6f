"""The criterion of RT-DETR: set losses on every decoder layer, on the proposals, and on boxes with noise.

Zhao, Lv, Xu, Wei, Wang, Dang, Liu, Chen: DETRs Beat YOLOs on Real-time Object Detection. CVPR 2024, arXiv:2304.08069. Each
layer is matched with the boxes on its own and pays gain * sum / number of boxes for class, L1 and box. Denoising as in DN-DETR
and DINO (arXiv:2203.03605): its answers are known, and it pays for each of its repetitions of a box.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from detkit.boxes import lift, normalise, to_cxcywh
from detkit.losses.answers import Answers, sums
from detkit.losses.dense_proposals import DenseProposals, dense_answers
from detkit.losses.giou import GIoU
from detkit.losses.hungarian import Hungarian
from detkit.losses.reduce import sum_over_processes, world_size
from detkit.losses.varifocal import Varifocal
from detkit.parts import BoxLossSpec, ClassLossSpec, CriterionSpec, MatcherSpec
from detkit.structures import Denoised, QueryOutput, Targets


class DETRCriterion(CriterionSpec):
    """Class, L1 and box losses of Hungarian matches on every layer, and of denoising."""

    reads = QueryOutput

    class_loss: ClassLossSpec = Varifocal()
    """Loss of the class logits of all queries."""
    box_loss: BoxLossSpec = GIoU()
    """Loss between a matched query's box and its target."""
    matcher: MatcherSpec = Hungarian()
    """Says which query answers for which box."""
    class_gain: float = Field(1.0, ge=0)
    """Weight of the class loss."""
    l1_gain: float = Field(5.0, ge=0)
    """Weight of the L1 loss of normalised boxes, cxcywh."""
    box_gain: float = Field(2.0, ge=0)
    """Weight of the box loss."""
    dense: DenseProposals | None = None
    """Many cells answer for a box among the proposals; None matches the proposals one to one, as published."""

    def build(self, num_classes: int, strides: Sequence[int]) -> nn.Module:
        """Return the criterion; a `QueryOutput` says classes and sizes itself."""
        return QueryCriterion(self)


class QueryCriterion(nn.Module):
    """Losses of a `QueryOutput`.

    Counts run over all processes, and sums are multiplied by the number of processes because their gradients are averaged:
    the gradient is that of one process with the whole batch.
    """

    def __init__(self, spec: DETRCriterion) -> None:
        super().__init__()
        self.class_loss, self.box_loss, self.matcher = spec.class_loss.build(), spec.box_loss.build(), spec.matcher.build()
        self.gains = {"class": spec.class_gain, "l1": spec.l1_gain, "box": spec.box_gain}
        self.assigner = spec.dense.assigner.build() if spec.dense else None
        self.dense_gain = spec.dense.gain if spec.dense else 0.0

    def forward(self, raw: QueryOutput, targets: Targets) -> dict[str, Tensor]:
        """Return weighted scalars.

        ``class``, ``l1`` and ``box`` are the last layer's; ``aux_*`` the sums over earlier layers, ``proposal_*`` (or
        ``dense_*``) the proposals', ``denoised_*`` the sums over layers of denoising: each where there are such.
        """
        truth = targets._replace(boxes=to_cxcywh(normalise(targets.boxes.to(lift(raw.boxes).dtype), raw.size)))
        none = targets.counts.new_zeros(())
        totals, counts = self._matched(raw, truth), {"": targets.counts.sum(), "denoised_": none, "dense_": none}
        if raw.denoised is not None:
            totals["denoised_"] = self._sums(denoised_answers(raw.denoised), truth).sum(0)
            counts["denoised_"] = (raw.denoised.positive * raw.denoised.share).sum()
        if raw.proposals is not None and self.assigner is not None:
            answers = dense_answers(raw.proposals, self.assigner, targets, raw.size)
            totals["dense_"] = self.dense_gain * self._sums(answers, truth)[0]
            counts["dense_"] = answers.weight.sum()
        scales = self._scales(counts, truth.boxes)
        return {
            prefix + name: gain * scales.get(prefix, scales[""]) * term
            for prefix, terms in totals.items()
            for (name, gain), term in zip(self.gains.items(), terms.unbind(), strict=True)
        }

    def _sums(self, answers: Answers, truth: Targets) -> Tensor:
        return sums(answers, truth, self.class_loss, self.box_loss)

    def _matched(self, raw: QueryOutput, truth: Targets) -> dict[str, Tensor]:
        """Match all layers at once, and the chosen proposals as one more; return each group's three sums."""
        depth, scores, boxes = len(raw.scores), lift(raw.scores), lift(raw.boxes)
        if raw.proposals is not None and self.assigner is None:
            chosen = raw.proposals.chosen.unsqueeze(-1)
            scores = torch.cat((scores, raw.proposals.scores.take_along_dim(chosen, 1).unsqueeze(0)))
            boxes = torch.cat((boxes, raw.proposals.boxes.take_along_dim(chosen, 1).unsqueeze(0)))
        query = self.matcher(scores, boxes, truth)
        target = torch.arange(query.shape[-1], device=query.device).expand_as(query)
        layers = self._sums(Answers(scores, boxes, query.clamp(min=0), target, query >= 0), truth)
        totals = {"": layers[depth - 1]}
        if depth > 1:
            totals["aux_"] = layers[: depth - 1].sum(0)
        if len(layers) > depth:
            totals["proposal_"] = layers[depth]
        return totals

    @staticmethod
    def _scales(counts: dict[str, Tensor], like: Tensor) -> dict[str, Tensor]:
        """Return processes / count (at least 1) over all processes, for gradients that are averaged over processes."""
        totals = sum_over_processes(torch.stack([count.to(like.dtype) for count in counts.values()]))
        return dict(zip(counts, world_size() / totals.clamp(min=1), strict=True))


def denoised_answers(denoised: Denoised) -> Answers:
    """Return the known answers: a place with little noise has its box, one with much noise has none."""
    layers = len(denoised.scores)
    prediction = torch.arange(denoised.target.shape[-1], device=denoised.target.device)
    known = (denoised.target, denoised.positive * denoised.share)
    target, weight = (values.expand(layers, -1, -1) for values in known)
    return Answers(denoised.scores, denoised.boxes, prediction.expand_as(target), target, weight, share=denoised.share)
