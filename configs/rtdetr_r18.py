"""RT-DETR-R18 (arXiv:2304.08069) under its published recipe."""

from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe
from detkit.zoo import rtdetr

config = Experiment(model=rtdetr("r18"), data=Data(resize="stretch"), recipe=detr_recipe())
