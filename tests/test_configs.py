"""Every config loads, survives storing, builds, takes a step, saves, and its checkpoint loads safely; slow: trains an epoch."""

import csv
import json
import math
from pathlib import Path

import pytest
import torch

from detkit.cli.config import load_config
from detkit.data.presets import CLASSES
from detkit.data.shapes import write_shapes
from detkit.experiment import Experiment
from detkit.overrides import override
from detkit.spec import from_dict, to_dict
from detkit.train.fit import fit
from detkit.weights.checkpoint import read_checkpoint, read_content
from tests.train.tiny import write_rectangles

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.py"))
LARGE = (*(f"{yolo}{size}" for yolo in ("v8", "11") for size in "mlx"), *(f"rmt_{size}" for size in "sbl"))
LARGE += ("repvit_m1_1", "repvit_m1_5", "repvit_m2_3")
"""How the names of configs end whose networks take seconds for a step."""


@pytest.fixture(scope="module")
def rectangles(tmp_path_factory):
    return write_rectangles(tmp_path_factory.mktemp("rectangles"), train=2, val=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """The data set that comes with detkit, drawn once for all configs."""
    folder = tmp_path_factory.mktemp("drawn") / "shapes"
    write_shapes("shapes", folder)
    return folder


def cost(path):
    large = path.stem.endswith(LARGE)
    return pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if large else [])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_loads_round_trips_and_builds(path):
    config = load_config(str(path))
    assert from_dict(Experiment, json.loads(json.dumps(to_dict(config)))) == config
    with torch.device("meta"):
        detector = config.model.build(num_classes=7)
        found = detector(torch.zeros(1, 3, 64, 96))
    assert found.boxes.shape[-1] == 4 and found.scores.shape[-1] == 7


@pytest.mark.parametrize("path", [cost(path) for path in CONFIGS])
def test_takes_a_step_and_saves_a_checkpoint_that_loads_safely(path, rectangles, tmp_path):
    words = [
        "recipe.epochs=1",
        "recipe.batch=2",
        "data.size=64",
        "data.workers=0",
        "logger=csv",
        "plots=false",
        "trainer.accelerator=cpu",
    ]
    experiment = override(load_config(str(path)), [f"data.root={rectangles}", f"output={tmp_path}", *words])
    result = fit(experiment, name=path.stem, progress=False)
    checkpoint = read_checkpoint(result.run / "last.ckpt")
    assert checkpoint.step == 1 and checkpoint.classes == ("red", "blue")
    [optimizer] = read_content(result.run / "last.ckpt")["optimizer_states"]
    trained = {number for group in optimizer["param_groups"] for number in group["params"]}
    assert optimizer["state"].keys() == trained, "a parameter without a gradient: several processes would wait for it"
    rebuilt = from_dict(Experiment, checkpoint.experiment).model.build(num_classes=2)
    rebuilt.load_state_dict(checkpoint.weights)


@pytest.mark.slow
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_trains_for_an_epoch_on_the_drawn_data(path, drawn, tmp_path):
    words = [
        "recipe.epochs=1",
        "recipe.batch=8",
        "data.size=96",
        "data.limit=16",
        "data.workers=0",
        "logger=csv",
        "plots=false",
    ]
    words += [f"data.root={drawn}", f"output={tmp_path}", "trainer.accelerator=cpu"]
    result = fit(override(load_config(str(path)), words), name=path.stem, progress=False)
    with (result.run / "metrics.csv").open() as file:
        [row] = csv.DictReader(file)
    losses = {name: float(value) for name, value in row.items() if "loss" in name}
    assert losses and all(math.isfinite(value) and value > 0 for value in losses.values()), row
    assert result.best is not None
    checkpoint = read_checkpoint(result.run / "best.ckpt")
    assert checkpoint.step >= 1 and checkpoint.classes == CLASSES
