"""Whose weights a state dict holds, guessed from its names and shapes, and the terms that they come under."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from detkit.weights import rtdetr, ultralytics

State = Mapping[str, Tensor]

AGPL = (
    "AGPL-3.0, or a licence bought from Ultralytics; a model trained from them may be bound by it, too: ask before you "
    "distribute or serve one"
)
APACHE = "Apache-2.0"
NONE = "none given by the authors: all rights reserved; ask them before you distribute what is trained from them"


@dataclass(frozen=True)
class Family:
    """A family of networks as its publisher names their tensors.

    Attributes:
        name: of the family and its publisher.
        licence: what the publisher's weights come under; empty where there is no one publisher.
        recognises: whether names are of the family.
        classes: pattern of the name of a tensor with a row for each class.
    """

    name: str
    licence: str
    recognises: Callable[[State], bool]
    classes: str

    def class_count(self, state: State) -> int | None:
        """Return the number of classes, None where the tensor that tells it is not there."""
        found = next((tensor for name, tensor in state.items() if re.search(self.classes, name)), None)
        return None if found is None or not found.dim() else len(found)


def family_of(state: State) -> Family | None:
    """Return the family of a state dict, None where it is of no known one."""
    return next((family for family in FAMILIES if family.recognises(state)), None)


def _has(*patterns: str) -> Callable[[State], bool]:
    """Return a test for names that match every pattern."""
    compiled = [re.compile(pattern) for pattern in patterns]
    return lambda state: all(any(pattern.search(name) for name in state) for pattern in compiled)


def _layers(head: int) -> Callable[[State], bool]:
    """Return a test for a layer list of Ultralytics whose head has a number."""
    return lambda state: ultralytics.recognises(state) and f"model.{head}{ultralytics.PROJECTION}" in state


YOLO_CLASSES = r"^model\.\d+\.cv3\.0\.2\.weight$"
MMDET_CLASSES = r"^bbox_head\.\w+_cls\.weight$"

FAMILIES = (
    Family("detkit YOLO", "", _has(r"^head\.box_branch\.p\d", r"^backbone\."), r"^head\.class_branch\.p\d\.predict\.weight$"),
    Family("detkit RT-DETR", "", _has(r"^head\.select\.classes\.", r"^backbone\."), r"^head\.select\.classes\.weight$"),
    Family("YOLOv8 (Ultralytics)", AGPL, _layers(22), YOLO_CLASSES),
    Family("YOLO11 (Ultralytics)", AGPL, _layers(23), YOLO_CLASSES),
    Family("another YOLO (Ultralytics)", AGPL, _has(r"^model\.0\.conv\.weight$", r"^model\.\d+\.(cv2|m)\.0\."), YOLO_CLASSES),
    Family("RT-DETR (lyuwenyu)", APACHE, rtdetr.recognises, r"^decoder\.enc_score_head\.weight$"),
    Family("RMT (qhfan)", NONE, _has(r"^layers\.0\.blocks\.0\.retention\."), r"^head\.weight$"),
    Family("RepViT (THU-MIG)", APACHE, _has(r"^features\.1\.token_mixer\."), r"^classifier\.classifier\.l\.weight$"),
    Family("RepViT (timm)", APACHE, _has(r"^stages\.0\.blocks\.0\.token_mixer\."), r"^head\.head\.l\.weight$"),
    Family("EMO (zhangzjn)", NONE, _has(r"^stage\d\.\d+\.qk\.", r"^stage0\.0\.convs\."), r"^head\.weight$"),
    Family("Conv2Former (HVision-NKU)", APACHE, _has(r"^downsample_layers\.0\.", r"\.attn\.(a|att)\.0\."), r"^pred\.weight$"),
    Family("mmdetection", APACHE, _has(r"^backbone\.", r"^(bbox|roi|query|mask)_head\."), MMDET_CLASSES),
    Family("ResNet (torchvision or timm)", "", _has(r"^layer1\.0\.conv1\.weight$", r"^layer4\.0\."), r"^fc\.weight$"),
    Family("Transformer (timm)", "", _has(r"^patch_embed\.proj\.", r"\bblocks\.0\.attn\.qkv\."), r"^head(\.fc)?\.weight$"),
)  # fmt: skip
"""Known families, those with the most particular names first."""
