"""RMT equals its authors' implementation: names, shapes, and the maps after stem and stages."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from detkit.nn.fuse import fuse
from detkit.weights import load_weights
from tests.golden.builders import BUILDERS
from tests.golden.deterministic import fill, image
from tests.golden.test_detectors import HERE, relative_error

CLASSIFIER = ("proj.", "norm.", "head.")
"""Starts of the names that only the classifier has."""


@pytest.fixture(scope="module")
def golden():
    """What the file says, its samples, and the deterministic state."""
    record = json.loads((HERE / "rmt_t.json").read_text())
    shapes = {name: shape for name, shape in record["state"].items() if name not in record["not_filled"]}
    state = {name: torch.tensor(fill(name, tuple(shape), record["gain"])) for name, shape in shapes.items()}
    state |= {name: torch.zeros(record["state"][name]) for name in record["not_filled"]}
    return record, np.load(HERE / "rmt_t.npz"), state


@pytest.mark.parametrize("source", ["official", "auto"])
def test_rmt_equals_the_reference(golden, source):
    record, samples, state = golden
    backbone = BUILDERS["rmt_t"]().double().eval()
    report = load_weights(backbone, state, source=source)
    assert report.share == 1 and not report.initial and not report.reshaped
    assert set(report.unexpected) == {
        name for name in state if name.startswith(CLASSIFIER) and not name.endswith("num_batches_tracked")
    }
    images = torch.tensor(image(tuple(record["inputs"][0]), seed=1))
    with torch.no_grad():
        maps = [backbone.stem(images), *backbone(images)]
    for index, x in enumerate(maps):
        assert list(x.shape) == record["outputs"][f"out{index}"] and x.dtype == torch.float64
        assert relative_error(x.numpy(), samples, f"out{index}") < 1e-6


def test_fused_in_single_precision_stays_near(golden):
    record, samples, state = golden
    backbone = BUILDERS["rmt_t"]().eval()
    load_weights(backbone, state, source="official")
    fused = fuse(backbone)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    with torch.no_grad():
        maps = fused(torch.tensor(image(tuple(record["inputs"][0]), seed=1)).float())
    for index, x in enumerate(maps, 1):
        assert relative_error(x.numpy(), samples, f"out{index}") < 1e-5
