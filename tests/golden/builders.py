"""Each golden name and the expression that builds our module."""

from collections.abc import Callable

from torch import nn

from detkit.blocks.dramit import DRAMiTBlock
from detkit.blocks.mobivari import MobiVari, MobiVariBlock
from detkit.necks.hrami import HRAMiMix
from detkit.zoo import rtdetr, yolo11, yolov8

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "dramit_v2_64_shift4": lambda: DRAMiTBlock(64, heads=4, shift=4, mobivari=MobiVari(version=2)),
    "hrami_v1_64": lambda: HRAMiMix(64, mobivari=MobiVari(version=1)),
    "hrami_v2_64": lambda: HRAMiMix(64, mobivari=MobiVari(version=2)),
    "mobivari1_64_64": lambda: MobiVariBlock(64, version=1),
    "mobivari2_148_64": lambda: MobiVariBlock(148, 64, version=2),
    "yolo11n": lambda: yolo11("n").build(num_classes=80),
    "rtdetr_r18vd_6x_coco": lambda: rtdetr("r18").build(num_classes=80),
    "yolov8n": lambda: yolov8("n").build(num_classes=80),
}
