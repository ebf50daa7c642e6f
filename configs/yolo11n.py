"""YOLO11n with the recipe that it was published with."""

from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolo11

config = Experiment(model=yolo11("n"), recipe=yolo_recipe())
