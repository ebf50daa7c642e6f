"""``tools/weights.py transfer``: what a model would take from a file."""

import json

import pytest
import torch

from detkit.cli.weights import main
from tests.networks import scrambled, small_yolo

CONFIG = """
from detkit.experiment import Experiment
from tests.networks import small_yolo
config = Experiment(model=small_yolo())
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a config and a file of weights of its model for five classes."""
    folder = tmp_path_factory.mktemp("transfer")
    (folder / "small_config.py").write_text(CONFIG)
    torch.save(scrambled(small_yolo().build(5)).state_dict(), folder / "small.pth")
    return folder


def transferred(here, *words):
    return main(["transfer", str(here / "small.pth"), str(here / "small_config.py"), "data.size=64", *words])


def test_the_table_is_printed_and_the_classes_are_the_files(here, capsys):
    assert transferred(here, "model.after.c5=Bottleneck", "--strict", "0.8") == 0
    out = capsys.readouterr().out
    assert f"init: initial weights from {here / 'small.pth'}" in out
    assert next(line for line in out.splitlines() if line.startswith("head ")).split()[-2:] == ["100.0%", "100.0%"]
    assert next(line for line in out.splitlines() if line.startswith("after.c5 ")).split()[-2:] == ["0.0%", "0.0%"]


def test_below_the_share_that_is_asked_for_it_fails(here, capsys):
    assert transferred(here, "model.backbone=RepViT", "--strict=0.9") == 2
    out, err = capsys.readouterr()
    assert "parameters" in out, "the table is shown all the same"
    assert err.startswith("error: init.strict=0.9: init=") and "the largest parts without their parameters: backbone (" in err


def test_a_backbone_alone_as_data(here, capsys):
    assert transferred(here, "model.backbone.stem=12", "init.overlap=true", "--backbone", "--json", "--classes=3") == 0
    found = json.loads(capsys.readouterr().out)["init.backbone"]
    assert set(found["parts"]) == {"backbone"} and found["overlapped"]["backbone.stem.norm.bias"] == [[12], [8]]
    assert found["file"] == str(here / "small.pth") and 0 < found["flops"] < found["parameters"] < 1
