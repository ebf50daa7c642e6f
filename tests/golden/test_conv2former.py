"""Conv2Former-N equals its authors' implementation under their names, all but the classifier that a backbone lacks."""

import pytest
import torch

from detkit.weights import load_weights
from tests.golden.builders import BUILDERS
from tests.golden.deterministic import image
from tests.golden.test_detectors import golden, relative_error

CLASSIFIER = ("head.", "pred.")


@pytest.mark.parametrize("source", ["official", "auto"])
def test_backbone_equals_the_reference(source):
    record, samples, state = golden("conv2former_n")
    backbone = BUILDERS["conv2former_n"]().double().eval()
    report = load_weights(backbone, state, source=source)
    assert report.share == 1 and not report.initial and not report.reshaped
    assert set(report.unexpected) == {
        name for name in state if name.startswith(CLASSIFIER) and not name.endswith("num_batches_tracked")
    }
    with torch.no_grad():
        maps = backbone(torch.tensor(image(tuple(record["inputs"][0]), seed=1)))
    for index, x in enumerate(maps):
        assert list(x.shape) == record["outputs"][f"out{index}"] and x.dtype == torch.float64
        assert relative_error(x.numpy(), samples, f"out{index}") < 1e-12


def test_parameters_are_as_many():
    record, _, state = golden("conv2former_n")
    classifier = sum(
        tensor.numel() for name, tensor in state.items() if name.startswith(CLASSIFIER) and "_" not in name
    )  # running statistics are no parameters
    own = sum(parameter.numel() for parameter in BUILDERS["conv2former_n"]().parameters())
    assert own + classifier == record["parameters"]
