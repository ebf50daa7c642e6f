"""RepViT equals its authors' implementation: names, shapes, the output of every layer."""

import pytest
import torch

from detkit.nn.fuse import fuse
from detkit.weights import load_weights
from tests.golden.builders import BUILDERS
from tests.golden.deterministic import image
from tests.golden.test_detectors import golden, relative_error

CLASSIFIER = "classifier.classifier."
LAYERS = 27
TAPS = [2, 6, 22, 26]
"""Layers whose outputs the authors' detectors read."""


@pytest.mark.parametrize("source", ["official", "auto"])
@torch.no_grad()
def test_backbone_equals_the_reference(source):
    record, samples, state = golden("repvit_m0_9")
    backbone = BUILDERS["repvit_m0_9"]().double().eval()
    report = load_weights(backbone, state, source=source)
    assert report.share == 1 and not report.initial and not report.reshaped
    assert set(report.unexpected) == {
        name for name in state if name.startswith(CLASSIFIER) and not name.endswith("num_batches_tracked")
    }
    found = {}
    steps = {0: "stem"} | {number: backbone.official[f"features.{number}"] for number in range(1, LAYERS)}
    for number, name in steps.items():
        module = backbone.get_submodule(name)
        module.register_forward_hook(lambda module, inputs, output, number=number: found.update({number: output}))
    images = torch.tensor(image(tuple(record["inputs"][0]), seed=1))
    maps = backbone(images)
    for number, x in found.items():
        assert list(x.shape) == record["outputs"][f"out{number}"] and x.dtype == torch.float64
        assert relative_error(x.numpy(), samples, f"out{number}") < 1e-12
    assert list(found) == list(range(LAYERS)) and all(x is found[tap] for x, tap in zip(maps, TAPS, strict=True))
    for x, tap in zip(fuse(backbone)(images), TAPS, strict=True):
        assert relative_error(x.numpy(), samples, f"out{tap}") < 1e-12
