"""``tools/weights.py publish``: what the command tells, and what it uploads."""

from unittest.mock import create_autospec

import huggingface_hub
import pytest

from detkit.cli.weights import main
from detkit.weights.checkpoint import PREFIX, header, write_checkpoint
from tests.train.tiny import tiny_experiment, tiny_model


@pytest.fixture
def checkpoint(tmp_path):
    state = {PREFIX + name: value for name, value in tiny_model().build(1).state_dict().items()}
    write_checkpoint(
        header(tiny_experiment("data", "runs"), ["red"], "mine alone") | {"state_dict": state}, tmp_path / "a.ckpt"
    )
    return tmp_path / "a.ckpt"


def test_what_was_written_is_told_and_uploaded(checkpoint, tmp_path, capsys, monkeypatch):
    made, sent = (create_autospec(getattr(huggingface_hub, name)) for name in ("create_repo", "upload_folder"))
    monkeypatch.setattr(huggingface_hub, "create_repo", made)
    monkeypatch.setattr(huggingface_hub, "upload_folder", sent)
    output = tmp_path / "out"
    assert main(["publish", str(checkpoint), str(output), "--license=cc0-1.0", "--push=anne/red"]) == 0
    told = capsys.readouterr().out
    assert "licence   cc0-1.0\nterms     of the initial weights: mine alone\n" in told and "uploaded  hf:anne/red" in told
    made.assert_called_once_with("anne/red", exist_ok=True)
    files = ["config.json", "model.safetensors", "README.md"]
    sent.assert_called_once_with(repo_id="anne/red", folder_path=output, allow_patterns=files)
    assert all(f"written   {output / name}" in told for name in files)


def test_a_folder_that_is_not_empty_is_refused(checkpoint, tmp_path, capsys):
    assert main(["publish", str(checkpoint), str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
