"""YOLOv8n with WIoU v3 (arXiv:2301.10051) as box loss; ``WIoU(version=1)`` has no running mean."""

from detkit.experiment import Experiment
from detkit.losses.wiou import WIoU
from detkit.recipes import yolo_recipe
from detkit.zoo import yolov8

config = Experiment(model=yolov8("n", box_loss=WIoU()), recipe=yolo_recipe())
