"""RT-DETR on the backbone Conv2Former-N (arXiv:2211.11943), with its own widths; encoder and decoder are RT-DETR-R18's."""

from detkit.backbones.conv2former import Conv2Former
from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe
from detkit.zoo import rtdetr

config = Experiment(model=rtdetr("r18", backbone=Conv2Former(size="n")), data=Data(resize="stretch"), recipe=detr_recipe())
