"""Whole detectors equal the authors' implementations: names, shapes, outputs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from detkit.weights import load_weights
from tests.golden.builders import BUILDERS
from tests.golden.deterministic import fill, image

HERE = Path(__file__).parent


def golden(name):
    """Return what a golden file says, its samples, and the deterministic state."""
    record = json.loads((HERE / f"{name}.json").read_text())
    gain = record.get("gain", 1.0)
    state = {key: torch.tensor(fill(key, tuple(shape), gain)) for key, shape in record["state"].items()}
    for key in record["not_filled"]:
        state[key] = torch.arange(16.0).reshape(record["state"][key])
    return record, np.load(HERE / f"{name}.npz"), state


def relative_error(output, samples, name):
    reference, index = samples[name], samples[f"{name}_index"]
    return np.abs(output.reshape(-1)[index] - reference).max() / np.abs(reference).max()


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n"])
def test_detector_equals_the_reference(name):
    record, samples, state = golden(name)
    detector = BUILDERS[name]().double().eval()
    report = load_weights(detector, state, source="ultralytics", strict=True)
    assert report.share == 1 and not report.initial and not report.unexpected
    images = torch.tensor(image(tuple(record["input_shape"]), seed=0))
    with torch.no_grad():
        predictions = detector(images)
    for output in ("boxes", "scores"):
        value = getattr(predictions, output)
        assert list(value.shape) == record["outputs"][output] and value.dtype == torch.float64
        assert relative_error(value.numpy(), samples, output) < 1e-6
    with torch.no_grad():
        fused = detector.float().fuse()(images)
    for output in ("boxes", "scores"):
        assert relative_error(getattr(fused, output).numpy(), samples, output) < 1e-4
