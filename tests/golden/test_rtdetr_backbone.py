"""The backbone of RT-DETR-R18 alone equals the authors' implementation."""

import torch

from detkit.backbones.presnet import PResNet
from detkit.weights.rtdetr_backbone import backbone_names
from tests.golden.deterministic import image
from tests.golden.test_detectors import golden, relative_error


def test_presnet18_equals_the_reference():
    record, samples, state = golden("rtdetr_r18vd_6x_coco")
    backbone = PResNet(depth=18).build((8, 16, 32)).double().eval()
    names = backbone_names(state)
    backbone.load_state_dict({ours.removeprefix("backbone."): state[theirs] for theirs, ours in names.items()})
    with torch.no_grad():
        maps = backbone(torch.tensor(image(tuple(record["inputs"][0]), seed=1)))
    for index, x in enumerate(maps):
        assert list(x.shape) == record["outputs"][f"backbone{index}"]
        assert relative_error(x.numpy(), samples, f"backbone{index}") < 1e-12
