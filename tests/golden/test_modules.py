"""Single modules equal their authors' implementations: names, shapes, outputs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from detkit.weights import load_weights
from tests.golden.builders import BUILDERS
from tests.golden.deterministic import fill

HERE = Path(__file__).parent
TENSOR_MIXERS = ["hrami_v1_64", "hrami_v2_64", "mobivari1_64_64", "mobivari2_148_64"]
ALL = [*TENSOR_MIXERS, "dramit_v2_64_shift4"]


def golden(name):
    """Return what a golden file says, its samples, the deterministic state and the inputs."""
    record = json.loads((HERE / f"{name}.json").read_text())
    state = {key: torch.tensor(fill(key, tuple(shape), record["gain"])) for key, shape in record["state"].items()}
    for key in record["not_filled"]:
        state[key] = torch.zeros(record["state"][key])
    seeds = [int(re.search(r"default_rng\((\d+)\)", rule)[1]) for rule in record["input_rule"]]
    inputs = [
        torch.tensor(np.random.default_rng(seed).normal(size=shape))
        for seed, shape in zip(seeds, record["inputs"], strict=True)
    ]
    return record, np.load(HERE / f"{name}.npz"), state, inputs


def loaded(name, state, source="official"):
    module = BUILDERS[name]().double().eval()
    report = load_weights(module, state, source=source, strict=True)
    assert report.share == 1 and not report.initial and not report.unexpected
    return module


def check(outputs, samples, record):
    assert len(outputs) == len(record["outputs"])
    for index, output in enumerate(outputs):
        reference, where = samples[f"out{index}"], samples[f"out{index}_index"]
        assert list(output.shape) == record["outputs"][f"out{index}"] and output.dtype == torch.float64
        assert np.abs(output.numpy().reshape(-1)[where] - reference).max() / np.abs(reference).max() < 1e-6


@pytest.mark.parametrize("name", ALL)
def test_parameters_are_as_many(name):
    assert sum(parameter.numel() for parameter in BUILDERS[name]().parameters()) == golden(name)[0]["parameters"]


@pytest.mark.parametrize("name", TENSOR_MIXERS)
@torch.no_grad()
def test_mixer_equals_the_reference(name):
    record, samples, state, inputs = golden(name)
    check([loaded(name, state)(inputs if name.startswith("hrami") else inputs[0])], samples, record)


@torch.no_grad()
def test_dramit_equals_the_reference_with_and_without_helpers():
    record, samples, state, (x, spatial, channel) = golden("dramit_v2_64_shift4")
    block = loaded("dramit_v2_64_shift4", state)
    check([*block.attend(x), *block.attend(x, spatial, channel)], samples, record)
    assert torch.equal(block(x), block.attend(x).out)


@pytest.mark.parametrize("name", ALL)
def test_official_names_are_recognised(name):
    loaded(name, golden(name)[2], source="auto")
