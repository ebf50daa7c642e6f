"""RT-DETR on the backbone RMT-T (arXiv:2309.11523), with its own widths; encoder and decoder are RT-DETR-R18's."""

from detkit.backbones.rmt import RMT
from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe
from detkit.zoo import rtdetr

config = Experiment(model=rtdetr("r18", backbone=RMT(size="t")), data=Data(resize="stretch"), recipe=detr_recipe())
