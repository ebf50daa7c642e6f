"""YOLOv8n with iRMB (of EMO, arXiv:2301.01146) as the unit of every C2f of the backbone: the articles' C2f_iRMB.

The form in which the block takes the bottleneck's whole place, with heads of 16 channels. ``yolov8("n", unit=...)`` changes
the backbone; ``neck_unit=IRMB(head_channels=16)`` the neck.
"""

from detkit.blocks.irmb import IRMB
from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolov8

config = Experiment(model=yolov8("n", unit=IRMB(head_channels=16)), recipe=yolo_recipe())
