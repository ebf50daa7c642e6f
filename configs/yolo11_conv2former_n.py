"""YOLO11n on the backbone Conv2Former-N (arXiv:2211.11943), with its own widths; neck and head are YOLO11n's."""

from detkit.backbones.conv2former import Conv2Former
from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolo11

config = Experiment(model=yolo11("n", backbone=Conv2Former(size="n")), recipe=yolo_recipe())
