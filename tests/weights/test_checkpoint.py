"""Checkpoints: what goes in comes out, nothing but whole files, nothing run, a sentence for each thing that is wrong."""

import os
import pickle
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import detkit
from detkit.errors import UserError
from detkit.spec import Spec
from detkit.weights import checkpoint
from detkit.weights.checkpoint import header, read_checkpoint, write_checkpoint

ROOT = Path(__file__).resolve().parents[2]


class CheckpointTestSpec(Spec):
    """Stands for an experiment that uses a part of the user's own."""

    depth: int = 3


EXPERIMENT = {"type": "CheckpointTestSpec", "depth": 3}
MODULES = (CheckpointTestSpec.__module__,)


def content(value: float = 1.0, **more) -> dict:
    weights = {"detector.head.weight": torch.full((4, 3), value), "loss.scale": torch.ones(1)}
    return {"state_dict": weights, "epoch": 3, "global_step": 40} | header(CheckpointTestSpec(), ["猫", "dog"]) | more


def names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def test_what_is_written_is_read(tmp_path):
    write_checkpoint(content(), tmp_path / "runs" / "last.ckpt")
    found = read_checkpoint(tmp_path / "runs" / "last.ckpt")
    assert (found.experiment, found.modules, found.classes) == (EXPERIMENT, MODULES, ("猫", "dog"))
    assert (found.epoch, found.step, found.version) == (3, 40, detkit.__version__)
    assert list(found.weights) == ["head.weight"]
    assert torch.equal(found.weights["head.weight"], torch.ones(4, 3))
    assert torch.equal(found.live["head.weight"], torch.ones(4, 3))


def test_averaged_weights_are_the_weights(tmp_path):
    live = {"detector.head.weight": torch.zeros(4, 3)}
    write_checkpoint(content(current_model_state=live), tmp_path / "a.ckpt")
    found = read_checkpoint(tmp_path / "a.ckpt")
    assert found.weights["head.weight"].mean() == 1
    assert found.live["head.weight"].mean() == 0


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_checkpoint(content(1.0), tmp_path / "a.ckpt")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_checkpoint(content(2.0), tmp_path / "a.ckpt")
    assert names(tmp_path) == ["a.ckpt"]
    assert read_checkpoint(tmp_path / "a.ckpt").weights["head.weight"].mean() == 1


def test_a_killed_write_leaves_the_old_file(tmp_path):
    write_checkpoint(content(1.0), tmp_path / "a.ckpt")
    program = """
import os, sys
from pathlib import Path
from tests.weights.test_checkpoint import content
from detkit.weights.checkpoint import write_checkpoint
os.fsync = lambda _: os._exit(9)
write_checkpoint(content(2.0), Path(sys.argv[1]))
"""
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.ckpt")], check=False, cwd=ROOT).returncode == 9
    assert read_checkpoint(tmp_path / "a.ckpt").weights["head.weight"].mean() == 1
    write_checkpoint(content(3.0), tmp_path / "a.ckpt")
    assert names(tmp_path) == ["a.ckpt"], "what the killed one left behind is used up"


@pytest.mark.parametrize(
    "value", [np.float64(1), os.fspath, object(), np.zeros(2)], ids=["number", "function", "object", "array"]
)
def test_what_could_not_be_read_again_is_not_written(value, tmp_path):
    with pytest.raises(TypeError, match=r"callbacks\.best\.1 is a"):
        write_checkpoint(content(callbacks={"best": [0.5, value]}), tmp_path / "a.ckpt")
    assert names(tmp_path) == []


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_cut_short(part, tmp_path):
    write_checkpoint(content(), tmp_path / "a.ckpt")
    data = (tmp_path / "a.ckpt").read_bytes()
    (tmp_path / "a.ckpt").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(UserError, match=r"a\.ckpt is not a checkpoint, or was cut short"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_changed_byte_is_noticed_or_without_effect(tmp_path):
    write_checkpoint(content(big=torch.arange(3000)), tmp_path / "a.ckpt")
    data = (tmp_path / "a.ckpt").read_bytes()
    draw = random.Random(0)
    noticed = 0
    for _ in range(150):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= draw.randrange(1, 256)
        (tmp_path / "b.ckpt").write_bytes(changed)
        try:
            found = checkpoint.read_content(tmp_path / "b.ckpt")
        except UserError as error:
            assert "b.ckpt" in str(error)
            noticed += 1
        else:  # padding, time stamps and the like
            assert torch.equal(found["big"], torch.arange(3000))
            assert torch.equal(found["state_dict"]["detector.head.weight"], torch.ones(4, 3))
    assert noticed > 100


class Hostile:
    def __reduce__(self):
        return os.mkdir, (os.environ["DETKIT_TEST_TRACE"],)


@pytest.mark.parametrize("container", ["zip", "pickle"])
def test_nothing_in_a_file_is_run(container, tmp_path, monkeypatch):
    monkeypatch.setenv("DETKIT_TEST_TRACE", str(tmp_path / "trace"))
    path = tmp_path / "evil.ckpt"
    if container == "zip":
        torch.save(content(evil=Hostile()), path)
    else:
        path.write_bytes(pickle.dumps(content(evil=Hostile())))
    with pytest.raises(UserError, match=r"evil\.ckpt"):
        read_checkpoint(path)
    assert not (tmp_path / "trace").exists()


def test_files_of_another_kind(tmp_path):
    path = tmp_path / "a.ckpt"
    with pytest.raises(UserError, match=r"there is no checkpoint .*a\.ckpt"):
        read_checkpoint(path)
    with pytest.raises(UserError, match=r"is a folder; give a checkpoint in it, such as .*best\.ckpt"):
        read_checkpoint(tmp_path)
    path.write_text("not a checkpoint at all")
    with pytest.raises(UserError, match="not a checkpoint, or was cut short"):
        read_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match="cannot be read"):
        read_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(UserError, match="it holds a list"):
        read_checkpoint(path)
    torch.save({"weight": torch.ones(3)}, path)
    with pytest.raises(UserError, match="names no format"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["experiment", "classes", "state_dict"])
def test_a_missing_entry_is_named(name, tmp_path):
    partial = content()
    del partial[name]
    write_checkpoint(partial, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=f"its entry '{name}' is missing"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_checkpoint_without_a_detector(tmp_path):
    write_checkpoint(content(state_dict={"other.weight": torch.ones(2)}), tmp_path / "a.ckpt")
    with pytest.raises(UserError, match="holds no weights of a detector"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_a_later_format_asks_for_an_upgrade(tmp_path):
    write_checkpoint(content(format=2, detkit="7.0"), tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"has format 2, written by detkit 7\.0; .* upgrade detkit"):
        read_checkpoint(tmp_path / "a.ckpt")


def test_an_earlier_format_is_migrated(tmp_path, monkeypatch):
    old = content()
    old["labels"] = old.pop("classes")
    write_checkpoint(old, tmp_path / "a.ckpt")
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    monkeypatch.setitem(checkpoint.MIGRATIONS, 1, lambda found: found | {"classes": found["labels"]})
    assert read_checkpoint(tmp_path / "a.ckpt").classes == ("猫", "dog")
