"""A published folder is the detector that was trained, says what is known of it, and nothing of where it was made."""

import hashlib
import json
import re
import shutil
from unittest.mock import create_autospec

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import detkit
from detkit.deploy import places
from detkit.deploy.load import load_detector
from detkit.deploy.publish import OWN, publish
from detkit.errors import UserError
from detkit.experiment import Experiment, Init
from detkit.overrides import override
from detkit.spec import from_dict
from detkit.train.evaluate import evaluate
from detkit.train.fit import fit
from detkit.weights import read
from detkit.weights.checkpoint import PREFIX, header, read_checkpoint, write_checkpoint
from tests.train.tiny import tiny_experiment, tiny_model, write_rectangles

USER = "quuxanne"
TERMS = "YOLOv8 (Ultralytics): AGPL-3.0, or a licence bought from Ultralytics"
NAMES = ("red", "blue")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A user's home with data, and a run that started from weights under the AGPL."""
    home = tmp_path_factory.mktemp("homes") / USER
    write_rectangles(home / "mydata", train=8, val=4)
    experiment = tiny_experiment(home / "mydata", home / "runs", epochs=1)
    state = {PREFIX + name: value for name, value in tiny_model().build(2).state_dict().items()}
    write_checkpoint({**header(experiment, NAMES, TERMS), "state_dict": state}, home / "agpl.ckpt")
    result = fit(experiment.model_copy(update={"init": Init(weights=str(home / "agpl.ckpt"))}), progress=False)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(result.run / "val_batch.jpg")
    result.run.rename(home / "run")
    return home


@pytest.fixture(scope="module")
def folder(home):
    publish(home / "run", home / "published" / "rectangles")
    return home / "published" / "rectangles"


def parts(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


def found(path, images):
    return [item.numpy() for item in detkit.load(path, confidence=0.0, device="cpu")(images)]


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_it_predicts_as_the_checkpoint_does_to_the_bit(name, home, folder):
    images = [np.random.default_rng(n).integers(0, 255, (50, 70, 3), np.uint8) for n in range(2)]
    for ours, theirs in zip(found(folder / name, images), found(home / "run" / "best.ckpt", images), strict=True):
        assert len(ours.scores) and all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_it_scores_as_the_run_did_and_what_is_written_goes_beside_it(home, folder):
    done = evaluate(folder, [f"data.root={home / 'mydata'}", "plots=false"], progress=False)
    told = json.loads((folder / "config.json").read_text())["metrics"]
    assert done.result.numbers == {name: told[name] for name in done.result.numbers}
    assert done.paths["results"].parent == folder.parent / "eval" and set(OWN) > {path.name for path in folder.iterdir()}


def test_nothing_tells_where_it_was_made(folder, home):
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["README.md", "config.json", "model.safetensors", "val_batch.jpg"]
    for path in folder.iterdir():
        content = path.read_bytes()
        for secret in (USER, str(home), home.parent.parent.name):
            assert secret.encode() not in content, path
    config = json.loads((folder / "config.json").read_text())
    assert config["experiment"]["data"]["root"] == "mydata" and config["experiment"]["init"]["weights"] == "agpl.ckpt"


TEXTS = {
    "/home/anne/a b/c.txt": "c.txt",
    "see /home/anne/x": "see x",
    "~anne/x": "x",
    r"C:\Users\anne\x.pt": "x.pt",
    "timm/resnet50.a1_in1k": "timm/resnet50.a1_in1k",
    "https://example.org/x": "https://example.org/x",
    "and/or 1/2": "and/or 1/2",
}


@pytest.mark.parametrize(("text", "told"), TEXTS.items(), ids=range(len(TEXTS)))
def test_full_paths_lose_their_folders(text, told):
    assert places.without_folders(text) == told


def test_class_names_stay_as_they_are():
    tree = {"data": {"names": ["/m/01g317"], "root": "~", "val_list": "../anne/val.txt"}, "seed": 0}
    told = {"data": {"names": ["/m/01g317"], "root": "home", "val_list": "val.txt"}, "seed": 0}
    assert places.without_places(tree) == told


def test_the_card_says_what_is_known(home, folder):
    from huggingface_hub import ModelCard

    top, body = parts(folder)
    assert top["library_name"] == "detkit" and top["pipeline_tag"] == "object-detection" and top["license"] == "agpl-3.0"
    config = json.loads((folder / "config.json").read_text())
    [evaluated] = [
        result for result in ModelCard(f"---\n{yaml.safe_dump(top)}---\n{body}").data.eval_results if result.metric_name == "AP"
    ]
    assert evaluated.metric_value == round(config["metrics"]["AP"], 4) and evaluated.dataset_name == "mydata"
    assert TERMS in body and "![Labels beside predictions, on validation images](val_batch.jpg)" in body
    assert re.search(r"^\| red \| \S+ \| \S+ \| \S+ \| \S+ \| \d+ \|$", body, re.MULTILINE)
    assert f"| val | 4 images, {config['data']['val']['boxes']} boxes, SHA-256 {config['data']['val']['sha256']} |" in body
    assert set(config["versions"]) == {"detkit", "python", "torch", "lightning"}
    assert config["input"] == {"size": [64, 64], "resize": "letterbox"} and config["classes"] == list(NAMES)
    assert config["averaged"] and set(config["metrics"]["classes"]) == set(NAMES)


def test_a_licence_that_is_given_is_told_and_the_terms_stay(home, tmp_path):
    publish(home / "run", tmp_path / "out", last=True, licence="cc-by-4.0")
    top, body = parts(tmp_path / "out")
    assert top["license"] == "cc-by-4.0" and TERMS in body and not (tmp_path / "out" / "val_batch.jpg").exists()


def test_without_terms_or_numbers_the_card_says_so(tmp_path):
    experiment = tiny_experiment("data", "runs")
    state = {PREFIX + name: value for name, value in tiny_model().build(2).state_dict().items()}
    write_checkpoint({**header(experiment, ("a|b", "<b>")), "state_dict": state}, tmp_path / "a.ckpt")
    publish(tmp_path / "a.ckpt", tmp_path / "out")
    top, body = parts(tmp_path / "out")
    assert top["license"] == "unknown" and "model-index" not in top and "Not evaluated." in body
    assert r"* Classes: a\|b, \<b\>" in body and "Weights: of the last step" in body
    assert detkit.load(tmp_path / "out", device="cpu").names == ("a|b", "<b>")


@pytest.mark.parametrize(("epoch", "told"), [(0, "after epoch 1"), (1, "Not evaluated.")], ids=["evaluated", "mid_epoch"])
def test_scores_are_of_these_weights_or_none(epoch, told, tmp_path):
    numbers = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"), 0.5)
    last = {"epoch": 1, "numbers": numbers, "classes": {"red": [0.5, 0.5, 3]}, "images": 2, "boxes": 3}  # as first written
    state = {PREFIX + name: value for name, value in tiny_model().build(2).state_dict().items()}
    entries = {"callbacks": {"History": {"last": last}}, "epoch": epoch, "state_dict": state}
    write_checkpoint(header(tiny_experiment("data", "runs"), NAMES) | entries, tmp_path / "a.ckpt")
    publish(tmp_path / "a.ckpt", tmp_path / "out")
    assert told in parts(tmp_path / "out")[1]


def test_terms_pass_from_run_to_run_and_survive_resuming(home, folder):
    assert read_checkpoint(home / "run" / "last.ckpt").licence == TERMS
    weights = read(folder)
    assert weights.inherited == TERMS and weights.classes == NAMES and weights.averaged
    experiment = tiny_experiment(home / "mydata", home / "second", epochs=1).model_copy(
        update={"init": Init(weights=str(folder))}
    )
    first = fit(experiment, progress=False)
    stored = from_dict(Experiment, read_checkpoint(first.run / "last.ckpt").experiment)
    fit(override(stored, ["recipe.epochs=2"]), resume=first.run, progress=False)
    resumed = read_checkpoint(first.run / "last.ckpt")
    assert resumed.epoch == 1 and resumed.licence == TERMS
    assert resumed.data == read_checkpoint(home / "run" / "last.ckpt").data, "the same data"


def test_half_precision_is_half_as_long_and_said(home, folder, tmp_path):
    publish(home / "run", tmp_path / "out", half=True)
    ours, theirs = load_detector(tmp_path / "out").detector.state_dict(), load_detector(folder).detector.state_dict()
    assert all(tensor.dtype == theirs[name].dtype for name, tensor in ours.items())
    assert all(
        torch.equal(tensor, theirs[name].half().to(tensor.dtype)) for name, tensor in ours.items() if tensor.is_floating_point()
    )
    assert "half precision" in parts(tmp_path / "out")[1] and read(tmp_path / "out").precision["float16"]


def test_nothing_of_the_users_is_overwritten(home, tmp_path):
    with pytest.raises(UserError, match=r"is a run's folder"):
        publish(home / "run", home / "run", force=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"out is not empty; .* --force"):
        publish(home / "run", tmp_path / "out")
    publish(home / "run", tmp_path / "out", force=True)
    publish(home / "run", tmp_path / "out", force=True, last=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "notes.txt",
    ]


def edited(**changes):
    return lambda content: json.dumps(content | changes)


def unknown_part(content):
    content["experiment"]["model"]["backbone"]["type"] = "Evil"
    return json.dumps(content | {"modules": ["os"]})


HOSTILE = {
    "not_json": (lambda content: "{" + json.dumps(content), r"config\.json is not JSON"),
    "nested": (lambda content: '{"detkit": ' + "[" * 100_000, r"config\.json is not JSON"),
    "list": (lambda content: '["detkit"]', r"holds a list"),
    "later": (edited(format=99), "upgrade detkit"),
    "format": (edited(format="1"), "names no format"),
    "classes": (edited(classes=[1, 2]), "'classes' holds what is no text"),
    "fewer_classes": (edited(classes=["red"]), "does not hold the weights of the model that it describes"),
    "epoch": (edited(epoch="1"), "'epoch' is missing or no int"),
    "weights": (edited(sha256="0"), r"model\.safetensors is damaged"),
    "experiment": (edited(experiment={"model": {"type": "YOLO", "evil": 1}}), "no field 'evil'"),
    "code": (unknown_part, r"--import os"),
}


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
def test_a_config_that_cannot_be_used_is_a_sentence(change, message, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    config = tmp_path / "out" / "config.json"
    config.write_text(change(json.loads(config.read_text())))
    with pytest.raises(UserError, match=message):
        detkit.load(tmp_path / "out")


def test_weights_alone_are_weights(folder, tmp_path):
    shutil.copy(folder / "model.safetensors", tmp_path)
    with pytest.raises(UserError, match=r"holds weights alone; keep the config\.json"):
        detkit.load(tmp_path / "model.safetensors")
    weights = read(tmp_path / "model.safetensors")
    assert weights.family.name == "detkit YOLO" and weights.inherited == TERMS


def test_the_hub_is_asked_for_a_name_that_begins_so(folder, monkeypatch):
    import huggingface_hub

    original = huggingface_hub.snapshot_download
    download = create_autospec(original, return_value=str(folder))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert detkit.load("hf:anne/rectangles", device="cpu").names == NAMES
    download.assert_called_once_with("anne/rectangles", allow_patterns=["config.json", "model.safetensors"])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", original)
    with pytest.raises(UserError, match=r"hf:not a name: "):
        detkit.load("hf:not a name")
    with pytest.raises(UserError, match="there is no checkpoint anne/rectangles"):
        detkit.load("anne/rectangles")


def test_a_damaged_download_is_told(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "out")
    weights = tmp_path / "out" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UserError, match="not fully downloaded"):
        detkit.load(weights)
    config = tmp_path / "out" / "config.json"
    content = json.loads(config.read_text()) | {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    config.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is a damaged safetensors file"):
        detkit.load(weights)
