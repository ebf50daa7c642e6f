"""A detector and data small enough to train in seconds; importable by the processes that tests start."""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from detkit.backbones.csp import CSPBackbone
from detkit.backbones.presnet import PResNet
from detkit.blocks.aifi import AIFI
from detkit.data.augment import Augment
from detkit.data.spec import Data
from detkit.detectors.rtdetr import RTDETR
from detkit.detectors.yolo import YOLO
from detkit.experiment import Experiment
from detkit.heads.rtdetr import RTDETRHead
from detkit.losses.detr import DETRCriterion
from detkit.necks.hybrid import HybridEncoder
from detkit.necks.pan import PAN
from detkit.parts import BlockSpec, Insert
from detkit.recipes import Recipe
from detkit.stages.repc3 import RepC3

COLORS = {"red": (220, 40, 40), "blue": (40, 40, 220)}


class Dropping(BlockSpec):
    """Dropout: what resumes exactly only if random states do."""

    rate: float = 0.2

    def build(self, channels):
        return nn.Dropout(self.rate)


def tiny_model(**fields):
    """A YOLO of a few thousand parameters, with batch norm and dropout."""
    return YOLO(
        backbone=CSPBackbone(stem=8, widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)),
        top=(),
        neck=PAN(widths=(16, 16, 16)),
        after={"p3": Insert(block=Dropping(), gate=False)},
        **fields,
    )


def tiny_rtdetr(norm="batch", criterion=None, **head):
    """An RT-DETR of some ten thousand parameters, with all that the published ones have: denoising too, which draws."""
    neck = HybridEncoder(width=16, intra=AIFI(heads=2, feedforward=16), stage=RepC3(expansion=0.5), depth=1)
    small = {"queries": 12, "depth": 2, "width": 16, "heads": 2, "feedforward": 16, "points": 2, "denoising": 6}
    return RTDETR(
        backbone=PResNet(depths=(1, 1, 1, 1), width=4, norm=norm),
        neck=neck,
        head=RTDETRHead(**(small | head)),
        criterion=criterion or DETRCriterion(),
    )


def tiny_experiment(root, output, *, data=None, model=None, **recipe):
    """Four epochs of five batches, with all that has state: averages, momentum, mosaic, dropout, accumulation."""
    settings = {
        "epochs": 4,
        "batch": 4,
        "nominal_batch": 8,
        "warmup_steps": 4,
        "warmup_epochs": 0,
        "augment": Augment(close_mosaic=1),
        "multi_scale": 0.25,
    }
    return Experiment(
        model=model or tiny_model(),
        data=Data(root=str(root), size=64, **({"workers": 0} | (data or {}))),
        recipe=Recipe(**(settings | recipe)),
        logger="csv",
        plots=False,
        output=str(output),
        trainer={"accelerator": "cpu"},
    )


def write_rectangles(root: Path, train: int = 20, val: int = 6, size: int = 64) -> Path:
    """Write a COCO folder of coloured rectangles; one training image has none.

    Every second image is nearly filled by one rectangle, which even an untrained network's boxes hit: AP is not 0.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        folder = root / f"{split}2017"
        folder.mkdir(parents=True)
        images, annotations = [], []
        for number in range(1, count + 1):
            pixels = np.full((size, size, 3), 114, np.uint8)
            images.append({"id": number, "file_name": f"{number}.png", "width": size, "height": size})
            fills = number % 2 == 0
            count_here = 0 if split == "train" and number == 3 else 1 if fills else int(rng.integers(1, 4))
            for _ in range(count_here):
                least, most = (size - 6, size - 1) if fills else (size // 5, size // 2)
                width, height = rng.integers(least, most, 2).tolist()
                x, y = int(rng.integers(0, size - width)), int(rng.integers(0, size - height))
                label = int(rng.integers(len(COLORS)))
                pixels[y : y + height, x : x + width] = list(COLORS.values())[label]
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": number,
                        "category_id": label + 1,
                        "bbox": [x, y, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
            Image.fromarray(pixels).save(folder / f"{number}.png")
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(COLORS)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    return root
