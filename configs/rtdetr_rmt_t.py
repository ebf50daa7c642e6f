"""RT-DETR-R18's encoder and decoder on RMT-T (arXiv:2309.11523), which learns as fast as they do: it has no weights yet.

With pretrained weights for the backbone, ``recipe.lr_scale.backbone=0.1`` is the published recipe.
"""

from detkit.backbones.rmt import RMT
from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe
from detkit.zoo import rtdetr

config = Experiment(model=rtdetr("r18", backbone=RMT(size="t")), data=Data(resize="stretch"), recipe=detr_recipe(lr_scale={}))
