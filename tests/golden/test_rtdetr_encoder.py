"""The encoder of RT-DETR-R18, on its backbone, equals the authors' implementation."""

import torch
from torch import nn

from detkit.backbones.presnet import PResNet
from detkit.necks.hybrid import HybridEncoder
from detkit.stages.repc3 import RepC3
from detkit.weights.rtdetr_backbone import backbone_names
from detkit.weights.rtdetr_encoder import encoder_names
from tests.golden.deterministic import image
from tests.golden.test_detectors import golden, relative_error


def test_the_hybrid_encoder_equals_the_reference():
    record, samples, state = golden("rtdetr_r18vd_6x_coco")
    backbone = PResNet(depth=18).build((8, 16, 32))
    neck = HybridEncoder(stage=RepC3(expansion=0.5)).build(backbone.out)
    host = nn.ModuleDict({"backbone": backbone, "neck": neck}).double().eval()
    names = backbone_names(state) | encoder_names(state)
    host.load_state_dict({ours: state[theirs] for theirs, ours in names.items()})  # all, and nothing else
    with torch.no_grad():
        maps = neck(backbone(torch.tensor(image(tuple(record["inputs"][0]), seed=1))))
    for index, x in enumerate(maps):
        assert list(x.shape) == record["outputs"][f"encoder{index}"] and x.dtype == torch.float64
        assert relative_error(x.numpy(), samples, f"encoder{index}") < 1e-5
