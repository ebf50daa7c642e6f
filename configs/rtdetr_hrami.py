"""RT-DETR-R18 whose encoder outputs are remixed across levels by H-RAMi (arXiv:2305.11474), the paper's form on a pyramid.

It is gated, so it starts as plain RT-DETR; ``HRAMi(gate=False)`` is the bare product.
"""

from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.necks.hrami import HRAMi
from detkit.recipes import detr_recipe
from detkit.zoo import rtdetr

config = Experiment(model=rtdetr("r18", remix=(HRAMi(),)), data=Data(resize="stretch"), recipe=detr_recipe())
