"""`tools/predict.py` as a user types it: sources, formats, options, and sentences where they cannot be met."""

import csv
import json
import os
import re

import cv2
import numpy as np
import pytest
from PIL import Image

from detkit.cli import predict
from detkit.deploy.predictor import Predictor
from detkit.weights.checkpoint import PREFIX, header, write_checkpoint
from tests.train.tiny import COLORS, tiny_experiment

EVERYTHING = ("--confidence", "0.0", "--limit", "5", "--device", "cpu")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained detector of the classes red and blue: at confidence 0 it finds something everywhere."""
    folder = tmp_path_factory.mktemp("run")
    experiment = tiny_experiment(folder, folder)
    state = {PREFIX + name: value for name, value in experiment.model.build(num_classes=2).state_dict().items()}
    write_checkpoint({"state_dict": state} | header(experiment, tuple(COLORS)), folder / "best.ckpt")
    return folder / "best.ckpt"


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The current folder holds ``photos/`` with three images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(noise.integers(0, 255, (80, 120, 3), np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def told(capsys, *words, status=0) -> str:
    assert predict.main([str(word) for word in words]) == status
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.err.strip() if status == 2 else printed.out


def test_pictures_and_json_by_default(capsys, checkpoint, photos):
    printed = told(capsys, checkpoint, "photos", *EVERYTHING).splitlines()
    assert printed == ["15 objects in 3 images", "pictures  runs/predict", "results   runs/predict/predictions.json"]
    assert sorted(path.name for path in (photos.parent / "runs" / "predict").iterdir()) == [
        ".predictions",
        *[f"{number}.png" for number in range(3)],
        "predictions.json",
    ]


def test_predicting_again_replaces_predictions_and_no_other_file(capsys, checkpoint, photos):
    for _ in range(2):
        told(capsys, checkpoint, "photos", *EVERYTHING, "--save", "pictures", "json", "csv", "txt")
    labels = photos / "labels"
    labels.mkdir()
    (labels / "1.txt").write_text("my own")
    text = told(capsys, checkpoint, "photos", *EVERYTHING, "--save", "txt", "--output", "photos", status=2)
    assert text == (
        "error: photos/labels/1.txt exists, and is not from an earlier prediction; give another folder with --output"
    )
    assert (labels / "1.txt").read_text() == "my own"
    assert [path.name for path in photos.glob("**/[!0-2]*")] == ["labels"], "nothing is written before it is refused"
    (photos.parent / "2.png").write_text("my own")
    told(capsys, checkpoint, "photos", *EVERYTHING, "--save", "json", "pictures", "--output", ".", status=2)
    assert sorted(path.name for path in photos.parent.iterdir()) == ["2.png", "photos", "runs"]
    told(capsys, checkpoint, "photos", *EVERYTHING, "--save", "json", "--output", "photos")
    assert len(json.loads((photos / "predictions.json").read_text())) == 3


@pytest.mark.parametrize("sources", [["photos/0.png", "photos/2.png"], ["photos/[02].png"]])
def test_files_that_the_shell_listed_and_patterns(capsys, checkpoint, photos, sources):
    told(capsys, checkpoint, *sources, *EVERYTHING, "--output", "out", "--save", "csv", "txt", "--classes", "blue")
    with (photos.parent / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 and {row["file"] for row in rows} == {"0.png", "2.png"} and {row["name"] for row in rows} == {"blue"}
    assert sorted(path.name for path in (photos.parent / "out").iterdir()) == [".predictions", "labels", "predictions.csv"]


def test_a_video(capsys, checkpoint, photos):
    video = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(3):
        video.write(np.zeros((64, 96, 3), np.uint8))
    video.release()
    printed = told(capsys, checkpoint, "clip.avi", *EVERYTHING, "--output", "out").splitlines()
    assert printed == ["15 objects in 3 frames", "video     out/clip.mp4", "results   out/predictions.json"]


def test_a_damaged_video_says_where_it_stopped(capsys, checkpoint, photos):
    video = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(20):
        video.write(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    video.release()
    clip = photos.parent / "clip.avi"
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    printed = told(capsys, checkpoint, "clip.avi", *EVERYTHING)
    assert re.match(r"clip\.avi: stopped at frame \d+ of about 20; the file is damaged or cut short there\n", printed)


def test_home_folders_and_names_that_are_not_utf_8(capsys, checkpoint, photos, monkeypatch):
    monkeypatch.setenv("HOME", str(photos.parent))
    (photos.parent / "best.ckpt").write_bytes(checkpoint.read_bytes())
    (photos / os.fsdecode(b"im\xe9.png")).write_text("broken")
    printed = told(capsys, "~/best.ckpt", "~/photos", *EVERYTHING, "--output", "~/found")
    assert printed.startswith("skipped im\\udce9.png: ")
    assert (photos.parent / "found" / "0.png").is_file() and not (photos.parent / "~").exists()


def test_tiles_and_size(capsys, checkpoint, photos, monkeypatch):
    seen = []
    detect = Predictor._detect
    monkeypatch.setattr(
        Predictor,
        "_detect",
        lambda self, images: seen.append((self.shape, len(images), images[-1].shape)) or detect(self, images),
    )
    told(
        capsys,
        checkpoint,
        "photos/0.png",
        *EVERYTHING,
        "--tiles",
        "64",
        "--overlap",
        "0.1",
        "--size",
        "32",
        "96",
        "--batch",
        "4",
    )
    assert seen == [((32, 96), 4, (64, 64, 3)), ((32, 96), 1, (64, 64, 3))]  # the whole and 2 x 2 tiles, four at a time
    assert len(json.loads((photos.parent / "runs" / "predict" / "predictions.json").read_text())[0]["detections"]) <= 5


def test_ctrl_c_keeps_what_was_done(capsys, checkpoint, photos, monkeypatch):
    detect, done = Predictor._detect, []

    def interrupted(self, images):
        if done:
            raise KeyboardInterrupt
        done.append(images)
        return detect(self, images)

    monkeypatch.setattr(Predictor, "_detect", interrupted)
    printed = told(capsys, checkpoint, "photos", *EVERYTHING, "--batch", "2", status=130)
    assert printed.startswith("10 objects in 2 images") and printed.endswith(
        "interrupted; the results hold what was done so far\n"
    )
    assert len(json.loads((photos.parent / "runs" / "predict" / "predictions.json").read_text())) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "there is no image or folder nowhere"),
        (["clip.mp4"], "there is no video clip.mp4"),
        (["photos", "0"], "opened by itself; give 0 alone"),
        (["photos", "--classes", "bleu"], "the detector knows no class 'bleu'; did you mean 'blue'?"),
        (["photos", "--save", "xml"], "predictions cannot be saved as 'xml'"),
        (["photos", "--size", "100"], "100 is no multiple of 32; write 96"),
        (["photos", "--size", "33"], "error: size: 33 is no multiple of 32; write 32"),
        (["photos", "--size", "32", "32", "32"], "--size takes one number or two (height and width), not 3"),
        (["photos", "--tiles", "5"], "write 640"),
        (["photos", "--confidence", "50"], "confidence is between 0 and 1"),
        (["photos", "--device", "gpu"], "device 'gpu' cannot be used here"),
        (["photos", "--output", "photos"], "would be mixed with the images that they show"),
    ],
)
def test_what_cannot_be_met_is_a_sentence(capsys, checkpoint, photos, words, message):
    text = told(capsys, checkpoint, *words, status=2)
    assert re.search(re.escape(message), text) and text.startswith("error: ")
    assert not (photos.parent / "runs").exists()


def test_another_model_that_the_weights_fill(checkpoint, photos, capsys):
    assert "in 3 images" in told(capsys, checkpoint, "photos", "model.after.p3=none", *EVERYTHING)
    words = told(capsys, checkpoint, "photos", "model.after.p3=Bottleneck", *EVERYTHING, status=2)
    assert "can only be used as a model that its weights fill exactly; as this one, " in words


def test_help_says_where_iou_matters(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        predict.main(["--help"])
    assert "the worse box is dropped; for RT-DETR with --tiles only" in capsys.readouterr().out
