"""The published detectors by name, and which of them a state dict fills."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from detkit.nn.weightless import weightless
from detkit.parts import DetectorSpec
from detkit.weights.load import COUNTER, PUBLISHERS
from detkit.weights.read import Weights
from detkit.zoo import rtdetr, yolo11, yolov8
from detkit.zoo.rtdetr import SIZES
from detkit.zoo.yolo import YOLO11, YOLOV8

YOLO: dict[str, Callable[[], DetectorSpec]] = {
    **{f"yolov8{scale}": partial(yolov8, scale) for scale in YOLOV8},
    **{f"yolo11{scale}": partial(yolo11, scale) for scale in YOLO11},
}
RTDETR: dict[str, Callable[[], DetectorSpec]] = {f"rtdetr_{size}": partial(rtdetr, size) for size in SIZES}
DETECTORS = YOLO | RTDETR
PUBLISHED_BY = {"ultralytics": YOLO, "rtdetr": RTDETR}
"""Detectors by whose names they are published under."""

_COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,stop sign,parking meter,bench,"
    "bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,"
    "sports ball,kite,baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,knife,spoon,"
    "bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,"
    "toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,"
    "teddy bear,hair drier,toothbrush"
)
COCO = tuple(_COCO.split(","))
"""Names of COCO's classes in the order of their ids, which is that of published detectors' labels."""


def detector_name(state: Mapping[str, Tensor], num_classes: int) -> str | None:
    """Return the name of the published detector, for so many classes, whose tensors a state dict holds; None for no such.

    Raises:
        UserError: a publisher's layer list that is no detector's here.
    """
    source = next((source for source, publisher in PUBLISHERS.items() if publisher.recognises(state)), None)
    names = {name: name for name in state} if source is None else PUBLISHERS[source].rename(state)
    shapes = {ours: state[theirs].shape for theirs, ours in names.items() if not ours.endswith(COUNTER)}
    candidates = DETECTORS if source is None else PUBLISHED_BY[source]
    return next((name for name, spec in candidates.items() if _shapes(spec(), num_classes) == shapes), None)


def _shapes(spec: DetectorSpec, num_classes: int) -> dict[str, torch.Size]:
    state = weightless(spec, num_classes).state_dict()
    return {name: tensor.shape for name, tensor in state.items() if not name.endswith(COUNTER)}


def names_detectors(weights: Weights) -> bool:
    """Say whether the names are those of detectors, of detkit's or of a publisher's."""
    return _published(weights) or (weights.family is not None and weights.family.name.startswith("detkit"))


def _published(weights: Weights) -> bool:
    return any(publisher.recognises(weights.state) for publisher in PUBLISHERS.values())


def row_count(weights: Weights) -> int | None:
    """Return the number of classes by the shape of what predicts them; None where no known family says where that is."""
    return weights.family.class_count(weights.state) if weights.family else None


def class_names(weights: Weights) -> tuple[str, ...]:
    """Return class names by label: those in the file, or COCO's for 80 that a publisher of detectors leaves unnamed."""
    if weights.classes or row_count(weights) != len(COCO):
        return weights.classes
    return COCO if _published(weights) else ()
