"""YOLOv8l with the recipe that it was published with."""

from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolov8

config = Experiment(model=yolov8("l"), recipe=yolo_recipe())
