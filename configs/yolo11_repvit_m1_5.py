"""YOLO11n with RepViT-M1.5 (arXiv:2307.09283) as the backbone, with its authors' taps; the neck keeps its widths."""

from detkit.backbones.repvit import RepViT
from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolo11

config = Experiment(model=yolo11("n", backbone=RepViT(size="m1_5")), recipe=yolo_recipe())
