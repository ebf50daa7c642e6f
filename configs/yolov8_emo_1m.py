"""YOLOv8n with EMO-1M (arXiv:2301.01146) as the backbone, its stages' raw maps; the neck keeps its widths.

``init=PATH`` takes the authors' ImageNet weights, which expect images with that set's ``model.mean`` and ``model.std``.
"""

from detkit.backbones.emo import EMO
from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolov8

config = Experiment(model=yolov8("n", backbone=EMO(size="1m")), recipe=yolo_recipe())
