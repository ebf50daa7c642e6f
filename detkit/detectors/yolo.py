"""YOLO: a dense detector; its defaults are YOLOv8n."""

from __future__ import annotations

from detkit.backbones.csp import CSPBackbone
from detkit.boxes import from_distances, lift
from detkit.detectors.base import ComposedDetector, ComposedSpec
from detkit.detectors.suppress import suppress
from detkit.heads.dense import DenseHead
from detkit.losses.detection import DetectionCriterion
from detkit.losses.dfl import expected_distance
from detkit.necks.pan import PAN
from detkit.parts import BackboneSpec, CriterionSpec, Detector, HeadSpec, NeckSpec, StageSpec
from detkit.stages.sppf import SPPF
from detkit.structures import DenseOutput, Detections, Geometry, Predictions


class YOLO(ComposedSpec):
    """One box for every cell of every level, then non-maximum suppression; `detkit.zoo` has the published sizes."""

    decodes = DenseOutput

    backbone: BackboneSpec = CSPBackbone()
    """Feature pyramid of the image; built with the levels that the neck reads."""
    top: tuple[StageSpec, ...] = (SPPF(),)
    """Run one after the other on the backbone's coarsest map, before the neck."""
    neck: NeckSpec = PAN()
    """Mixes the backbone's levels."""
    head: HeadSpec = DenseHead()
    """Predicts from the maps."""
    criterion: CriterionSpec = DetectionCriterion()
    """Loss of the predictions."""

    def build(self, num_classes: int) -> Detector:
        """Return the detector for ``num_classes`` classes, with initial weights."""
        return YOLODetector(self, num_classes)


class YOLODetector(ComposedDetector):
    """Decodes distributions of distances and suppresses what overlaps."""

    def decode(self, raw: DenseOutput, size: tuple[int, int]) -> Predictions:
        """Return boxes (B, N, 4) xyxy in input pixels, which may cross the borders, and scores (B, N, C)."""
        distances = expected_distance(raw.distances) * raw.strides[:, None]
        return Predictions(from_distances(distances, raw.anchors), lift(raw.scores).sigmoid())

    def detect(
        self,
        predictions: Predictions,
        geometry: Geometry | None = None,
        confidence: float = 0.25,
        iou: float = 0.7,
        limit: int = 300,
    ) -> list[Detections]:
        """Return what survives class-aware non-maximum suppression in each image, best first.

        Args:
            predictions: what the detector returned.
            geometry: the way back to original pixels; None leaves boxes in input pixels.
            confidence: least score; a box counts once for each class that reaches it.
            iou: boxes of one class that overlap a better one by more are dropped.
            limit: most detections of an image.
        """
        return suppress(predictions, geometry, confidence, iou, limit)
