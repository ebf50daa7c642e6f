"""EMO and its block equal their authors' implementation: names, shapes, outputs."""

import pytest
import torch

from detkit.weights import load_weights
from tests.golden.builders import BUILDERS
from tests.golden.deterministic import image
from tests.golden.test_detectors import golden, relative_error
from tests.golden.test_modules import check, loaded
from tests.golden.test_modules import golden as golden_module

BLOCKS = ["irmb_attn_default", "irmb_attn_pre_ln", "irmb_stem_se"]
CLASSIFIER = {"norm.norm.weight", "norm.norm.bias", "head.weight", "head.bias"}


@pytest.mark.parametrize("name", BLOCKS)
@torch.no_grad()
def test_block_equals_the_reference(name):
    record, samples, state, (x,) = golden_module(name)
    block = loaded(name, state)
    assert sum(parameter.numel() for parameter in block.parameters()) == record["parameters"]
    check([block(x)], samples, record)


@torch.no_grad()
def test_backbone_equals_the_reference():
    record, samples, state = golden("emo_1m")
    backbone = BUILDERS["emo_1m"]().double().eval()
    report = load_weights(backbone, state, source="official")
    assert not report.initial and not report.reshaped and set(report.unexpected) == CLASSIFIER
    images = torch.tensor(image(tuple(record["inputs"][0]), seed=1))
    for index, x in enumerate([backbone.stem(images), *backbone(images)]):
        assert list(x.shape) == record["outputs"][f"out{index}"] and x.dtype == torch.float64
        assert relative_error(x.numpy(), samples, f"out{index}") < 1e-6
