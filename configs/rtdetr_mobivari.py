"""RT-DETR-R18 with MobiVari (of H-RAMi, arXiv:2305.11474) after p5: the one-map form that articles call H-RAMi attention.

No remixing across levels takes place; `rtdetr_hrami` is the paper's form. Gated, so it starts as plain RT-DETR;
``Insert(block=MobiVari(), gate=False)`` is the articles' bare block.
"""

from detkit.blocks.mobivari import MobiVari
from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe
from detkit.zoo import rtdetr

config = Experiment(model=rtdetr("r18", after={"p5": MobiVari()}), data=Data(resize="stretch"), recipe=detr_recipe())
