"""YOLO11n with RMT-S (arXiv:2309.11523) in place of its backbone; SPPF, C2PSA, neck and head stay."""

from detkit.backbones.rmt import RMT
from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolo11

config = Experiment(model=yolo11("n", backbone=RMT(size="s")), recipe=yolo_recipe())
