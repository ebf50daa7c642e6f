"""YOLO11n whose neck's outputs are mixed across levels by H-RAMi (arXiv:2305.11474): the paper's form, on p3 to p5.

The mix of all three levels weights p3, behind a gate that is zero at the start.
"""

from detkit.experiment import Experiment
from detkit.necks.hrami import HRAMi
from detkit.recipes import yolo_recipe
from detkit.zoo import yolo11

config = Experiment(model=yolo11("n", remix=(HRAMi(),)), recipe=yolo_recipe())
