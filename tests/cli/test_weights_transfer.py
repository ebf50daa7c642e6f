"""``tools/weights.py transfer``: what a model would take from a file."""

import json

import pytest
import torch

from detkit.cli.config import load_config
from detkit.cli.weights import main
from detkit.overrides import override
from detkit.train.start import new_detector
from detkit.weights.checkpoint import PREFIX, header, write_checkpoint
from tests.networks import scrambled, small_yolo
from tests.train.tiny import tiny_experiment, write_rectangles

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
    assert transferred(here, "model.backbone.stem=12", "init.overlap=true", "--backbone", "--json", "--classes", "a", "b") == 0
    found = json.loads(capsys.readouterr().out)["init.backbone"]
    assert set(found["parts"]) == {"backbone"} and found["overlapped"]["backbone.stem.norm.bias"] == [[12], [8]]
    assert found["file"] == str(here / "small.pth") and 0 < found["flops"] < found["parameters"] < 1


MANY = (*(f"thing {number}" for number in range(38)), "Blue", "red")


@pytest.mark.parametrize("words", [["data.root={root}"], ["--classes", "red", "blue"]], ids=["data", "classes"])
def test_what_is_shown_is_what_training_loads_and_tells(words, tmp_path, capsys, caplog):
    """Of other classes, with a class branch that is narrower but for the file's."""
    root = write_rectangles(tmp_path / "data", train=4, val=2)
    first = tiny_experiment(root, tmp_path)
    state = scrambled(first.model.build(len(MANY))).state_dict()
    content = {"state_dict": {PREFIX + name: value for name, value in state.items()}} | header(first, MANY)
    write_checkpoint(content, tmp_path / "many.ckpt")
    config = tmp_path / "tiny_transfer_config.py"
    config.write_text(f"from tests.train.tiny import tiny_experiment\nconfig = tiny_experiment('nowhere', {str(tmp_path)!r})")
    file = tmp_path / "many.ckpt"
    assert main(["transfer", str(file), str(config), *(word.format(root=root) for word in words)]) == 0
    shown = capsys.readouterr().out
    new_detector(override(load_config(str(config)), [f"init={file}"]), 2, ("red", "blue"))
    assert shown.split("\n\n", 1)[1].strip() == "\n\n".join(caplog.messages)
    assert shown.startswith("2 classes, ") and "model.head.class_width=40, not the 16 of 2 classes" in shown
    assert "the rows of 2 of 2 classes were taken by name: red, blue (there Blue)" in shown


def test_without_data_the_classes_are_the_files_and_a_backbones_are_none(here, tmp_path, capsys):
    assert transferred(here) == 0
    assert capsys.readouterr().out.startswith("5 classes, those of the file; data.root=FOLDER or --classes NAME ... shows")
    backbone = {"features.0.0.c.weight": torch.zeros(3, 2), "classifier.classifier.l.weight": torch.zeros(1000, 4)}
    torch.save(backbone | scrambled(small_yolo().backbone.build([8, 16, 32])).state_dict(), tmp_path / "backbone.pth")
    assert main(["transfer", str(tmp_path / "backbone.pth"), str(here / "small_config.py"), "--backbone"]) == 0
    assert capsys.readouterr().out.startswith("80 classes, as the file is of none")


def test_a_config_is_asked_for(here, capsys):
    assert main(["transfer", str(here / "small.pth"), "data.size=64"]) == main(["transfer", str(here / "small.pth")]) == 2
    assert capsys.readouterr().err.count("which config? It comes after the file: FILE CONFIG") == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--classes", "a", "init.overlap=true"], "takes 'init.overlap=true' for the name of a class; write it last"),
        (["--classes", "a", "a"], "'a' is there twice"),
        (["init=none"], "nothing would be loaded"),
        (["data.root=nowhere"], "data.root=nowhere does not exist; name the folder of a data set"),
    ],
)
def test_mistakes_are_sentences(here, words, message, capsys):
    assert transferred(here, *words) == 2
    assert message in capsys.readouterr().err
