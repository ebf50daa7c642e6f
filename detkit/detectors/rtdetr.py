"""RT-DETR: a query detector without suppression; its defaults are RT-DETR-R18."""

from __future__ import annotations

import torch

from detkit.backbones.presnet import PResNet
from detkit.boxes import lift, to_pixels, to_xyxy
from detkit.detectors.base import ComposedDetector, ComposedSpec
from detkit.heads.rtdetr import RTDETRDecoder, RTDETRHead
from detkit.losses.detr import DETRCriterion, QueryCriterion
from detkit.necks.hybrid import HybridEncoder
from detkit.parts import BackboneSpec, CriterionSpec, Detector, HeadSpec, NeckSpec
from detkit.stages.repc3 import RepC3
from detkit.structures import Detections, Geometry, Predictions, QueryOutput


class RTDETR(ComposedSpec):
    """A set of queries, each of which answers for one object; `detkit.zoo` has the published sizes."""

    largest_lr = 1e-3
    """Of AdamW. Published are 1e-4 and below; 1e-3 is for small ones that start from initial weights."""

    decodes = QueryOutput

    backbone: BackboneSpec = PResNet()
    """Feature pyramid of the image; built with the levels that the neck reads."""
    neck: NeckSpec = HybridEncoder(stage=RepC3(expansion=0.5))
    """Mixes the backbone's levels."""
    head: HeadSpec = RTDETRHead(depth=3)
    """Predicts from the maps."""
    criterion: CriterionSpec = DETRCriterion()
    """Loss of the predictions."""

    def build(self, num_classes: int) -> Detector:
        """Return the detector for ``num_classes`` classes, with initial weights."""
        return RTDETRDetector(self, num_classes)


class RTDETRDetector(ComposedDetector):
    """Decodes the last layer given; its detections are the best pairs of query and class."""

    def __init__(self, spec: RTDETR, num_classes: int) -> None:
        super().__init__(spec, num_classes)
        if isinstance(self.head, RTDETRDecoder) and isinstance(self.criterion, QueryCriterion):
            self.head.select.everywhere = self.criterion.assigner is not None

    def decode(self, raw: QueryOutput, size: tuple[int, int]) -> Predictions:
        """Return boxes (B, Q, 4) xyxy in input pixels, which may cross the borders, and scores (B, Q, C).

        Shares are of what the maps cover, ``raw.size``: ``size`` itself, or more where that is no multiple of the strides.
        """
        return Predictions(to_pixels(to_xyxy(lift(raw.boxes[-1])), raw.size), lift(raw.scores[-1]).sigmoid())

    @torch.no_grad()
    def detect(
        self,
        predictions: Predictions,
        geometry: Geometry | None = None,
        confidence: float = 0.25,
        iou: float = 0.7,
        limit: int = 300,
    ) -> list[Detections]:
        """Return the best pairs of query and class in each image, best first.

        Args:
            predictions: what the detector returned.
            geometry: the way back to original pixels; None leaves boxes in input pixels.
            confidence: least score; a box counts once for each class that reaches it.
            iou: not used: queries suppress one another in the decoder.
            limit: most detections of an image.
        """
        classes = predictions.scores.shape[-1]
        pairs = predictions.scores.flatten(1)
        scores, chosen = pairs.topk(min(limit, pairs.shape[1]))
        counts = (scores > confidence).sum(1).tolist()
        found = []
        for index, count in enumerate(counts):
            rows, labels = chosen[index, :count] // classes, chosen[index, :count] % classes
            boxes = predictions.boxes[index, rows]
            boxes = boxes if geometry is None else geometry.to_original(boxes, index)
            extras = {name: extra[index, rows] for name, extra in predictions.extras.items()}
            found.append(Detections(boxes, scores[index, :count], labels, extras=extras))
        return found
