"""YOLOv8n with iRMB (of EMO, arXiv:2301.01146) as the first layer of both of the head's branches on every level.

The articles' iRMB in the detection head, bare and at the level's own width; with ``blocks=(Insert(block=IRMB()),)`` it is
gated, so that published weights start as they are.
"""

from detkit.blocks.irmb import IRMB
from detkit.experiment import Experiment
from detkit.heads.branches import ConvBranch
from detkit.recipes import yolo_recipe
from detkit.zoo import yolov8

branch = ConvBranch(blocks=(IRMB(),))
config = Experiment(model=yolov8("n", box_branch=branch, class_branch=branch), recipe=yolo_recipe())
