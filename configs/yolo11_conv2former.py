"""YOLO11n with Conv2Former's block (arXiv:2211.11943) as the unit of its backbone's C3k2 stages: C3k2_Conv2Former.

The whole block, modulation and feed-forward; ``ConvMod(expansion=None)`` is the modulation alone.
"""

from detkit.blocks.conv_mod import ConvMod
from detkit.experiment import Experiment
from detkit.recipes import yolo_recipe
from detkit.zoo import yolo11

config = Experiment(model=yolo11("n", unit=ConvMod()), recipe=yolo_recipe())
