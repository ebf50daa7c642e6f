"""RT-DETR-R18 whose backbone has an iRMB (of EMO, arXiv:2301.01146) for the second 3x3 convolution of every block.

The articles' BasicBlock_iRMB, with the block's own defaults: heads of 64 channels, which attend to the values.
"""

from detkit.blocks.irmb import IRMB
from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe
from detkit.zoo import rtdetr

config = Experiment(model=rtdetr("r18", backbone_unit=IRMB()), data=Data(resize="stretch"), recipe=detr_recipe())
