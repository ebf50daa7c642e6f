"""Each golden name and the expression that builds our module."""

from collections.abc import Callable

from torch import nn

from detkit.zoo import yolo11, yolov8

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "yolov8n": lambda: yolov8("n").build(num_classes=80),
    "yolo11n": lambda: yolo11("n").build(num_classes=80),
}
