"""Each tool once, as a user types it, on tiny data."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from detkit.cli import list as list_command

ROOT = Path(__file__).resolve().parents[2]


def command(name, *words):
    return [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, words)]


def tool(folder, name, *words, status=0):
    done = subprocess.run(command(name, *words), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def small(root, *words):
    return (ROOT / "configs" / "yolo11n.py", f"data.root={root}", "data.size=64", "data.workers=0", "recipe.batch=4", *words)


@pytest.fixture(scope="module")
def folder(rectangles, tmp_path_factory):
    """A folder in which a run was trained, and what the tool printed."""
    where = tmp_path_factory.mktemp("user")
    (where / "printed.txt").write_text(tool(where, "train", *small(rectangles, "recipe.epochs=2")))
    return where


def test_train(folder):
    run = folder / "runs" / "yolo11n" / "0"
    for name in ("config.json", "best.ckpt", "last.ckpt", "metrics.csv"):
        assert (run / name).is_file(), name
    assert list(run.rglob("events.*")), "no TensorBoard events"
    assert len([path for path in run.iterdir() if path.suffix in (".png", ".jpg")]) >= 2, "no pictures"
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"] and all(float(row["loss"]) > 0 for row in rows)
    printed = (folder / "printed.txt").read_text()
    for word in (
        "AP",
        "AP50",
        "APs",
        "AR100",
        "precision",
        "at the best confidence",
        "plots",
        "red",
        "blue",
        "best epoch",
        str(Path("runs/yolo11n/0/best.ckpt")),
    ):
        assert word in printed, printed


def test_eval_gives_the_numbers_of_the_run(folder, rectangles):
    printed = tool(folder, "eval", "runs/yolo11n/0/best.ckpt", f"data.root={rectangles}", "--output", "scored")
    assert printed.split("best epoch")[0].splitlines()[:8] == (folder / "printed.txt").read_text().splitlines()[:8]
    results = json.loads((folder / "scored" / "results.json").read_text())
    assert results and set(results[0]) == {"image_id", "category_id", "bbox", "score"}


def test_eval_takes_the_data_of_the_run_by_itself(folder):
    assert "AP50" in tool(folder, "eval", "runs/yolo11n/0/last.ckpt")


def test_predict(folder, rectangles):
    words = ("--output", "found", "--confidence", "0.01")
    printed = tool(folder, "predict", "runs/yolo11n/0/best.ckpt", rectangles / "val2017", *words)
    assert "in 6 images" in printed
    records = json.loads((folder / "found" / "predictions.json").read_text())
    assert len(records) == 6 and {record["width"] for record in records} == {64}
    assert len(list((folder / "found").glob("*.png"))) == 6


def test_list(folder):
    printed = tool(folder, "list")
    for word in (
        "block:",
        "Bottleneck",
        "box loss:",
        "CIoU",
        "backbone:",
        "CSPBackbone",
        "recipe:",
        "epochs",
        "optimizer:",
        "SGD",
    ):
        assert word in printed
    assert "C2f" in tool(folder, "list", "stages") and "Bottleneck" not in tool(folder, "list", "optimizer")


@pytest.mark.parametrize(
    ("word", "part"),
    [("class loss", "Varifocal"), ("matcher", "Hungarian"), ("dense", "DenseProposals"), ("intra", "AIFI"), ("remix", "HRAMi")],
)
def test_list_takes_the_name_of_a_field_too(capsys, word, part):
    assert list_command.main([word]) == 0
    assert f"  {part} " in capsys.readouterr().out


def test_print_shows_the_resolved_experiment_and_trains_nothing(tmp_path):
    printed = tool(tmp_path, "train", ROOT / "configs" / "yolov8n.py", "recipe.epochs=7", "model.after.c5=C3k", "--print")
    assert "  recipe: Recipe\n    epochs: 7\n" in printed and "      c5: C3k" in printed
    assert not list(tmp_path.iterdir())


def test_ctrl_c_saves_and_says_how_to_go_on(rectangles, tmp_path):
    process = subprocess.Popen(
        command("train", *small(rectangles, "recipe.epochs=300", "recipe.eval_every=300")),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    metrics = tmp_path / "runs" / "yolo11n" / "0" / "metrics.csv"
    deadline = time.monotonic() + 120
    while not metrics.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "--resume runs/yolo11n/0" in out
    done = len(metrics.read_text().splitlines()) - 1
    tool(tmp_path, "train", "--resume", "runs/yolo11n/0", f"recipe.epochs={done + 1}")
    assert len(metrics.read_text().splitlines()) - 1 == done + 1


@pytest.mark.parametrize(("name", "own"), [("yolo11n", "recipe.nominal_batch=none"), ("rtdetr_hrami", "recipe.lr_scale={}")])
def test_demo(tmp_path, name, own):
    config = ROOT / "configs" / f"{name}.py"
    words = ("recipe.epochs=1", "recipe.batch=4", "data.limit=8", "data.size=64", "data.workers=0")
    printed = tool(tmp_path, "demo", config, *words)
    pictures = tmp_path / "runs" / "demo" / name / "0" / "pictures"
    assert len(list(pictures.glob("*.png"))) == 20
    for word in ("this is: tools/train.py", own, "AP50", "disc", "star", "What next", f"runs/demo/{name}/0/best.ckpt"):
        assert word in printed, printed
    tool(tmp_path, "demo", config, f"data.root={tmp_path}", status=2)
