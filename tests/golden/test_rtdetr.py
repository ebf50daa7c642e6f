"""RT-DETR-R18, whole, equals the authors' implementation: names, shapes, outputs of backbone, encoder and decoder."""

import pytest
import torch

from detkit.weights import load_weights
from tests.golden.builders import BUILDERS
from tests.golden.deterministic import image
from tests.golden.test_detectors import golden, relative_error

NAME = "rtdetr_r18vd_6x_coco"
V2 = {"decoder.enc_output.0": "decoder.enc_output.proj", "decoder.enc_output.1": "decoder.enc_output.norm"}
V2 |= {
    f"encoder.input_proj.{level}.{old}": f"encoder.input_proj.{level}.{new}"
    for level in range(3)
    for old, new in (("0", "conv"), ("1", "norm"))
}


def as_v2(state):
    """The names of RT-DETRv2, and the tables that its checkpoints hold beside the weights."""
    renamed = {}
    for name, value in state.items():
        old = next((old for old in V2 if name.startswith(old + ".")), None)
        renamed[name if old is None else V2[old] + name.removeprefix(old)] = value
    tables = {"decoder.anchors": torch.zeros(1, 8400, 4), "decoder.valid_mask": torch.ones(1, 8400, 1)}
    tables |= {f"decoder.decoder.layers.{layer}.cross_attn.num_points_scale": torch.ones(12) for layer in range(3)}
    return renamed | tables


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("source", ["rtdetr", "auto"])
def test_detector_equals_the_reference(version, source):
    record, samples, state = golden(NAME)
    detector = BUILDERS[NAME]().double().eval()
    report = load_weights(detector, state if version == 1 else as_v2(state), source=source, strict=True)
    assert report.share == 1
    if version == 2:
        return
    images = torch.tensor(image(tuple(record["inputs"][0]), seed=1))
    with torch.no_grad():
        maps, predictions, fused = detector.features(images), detector(images), detector.fuse()(images)
    for index, x in enumerate(maps):
        assert relative_error(x.numpy(), samples, f"encoder{index}") < 1e-5
    for output in ("boxes", "scores"):
        value = getattr(predictions, output)
        assert list(value.shape) == record["outputs"][output] and value.dtype == torch.float64
        assert relative_error(value.numpy(), samples, output) < 1e-5
        assert relative_error(getattr(fused, output).numpy(), samples, output) < 1e-4
