"""RT-DETR with RepViT-M1.0 (arXiv:2307.09283) as the backbone; encoder and decoder are those of R18."""

from detkit.backbones.repvit import RepViT
from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe
from detkit.zoo import rtdetr

config = Experiment(model=rtdetr("r18", backbone=RepViT(size="m1_0")), data=Data(resize="stretch"), recipe=detr_recipe())
