"""Reference detectors by name and size, with every slot open."""

from detkit.zoo.rtdetr import rtdetr
from detkit.zoo.yolo import yolo11, yolov8

__all__ = ["rtdetr", "yolo11", "yolov8"]
