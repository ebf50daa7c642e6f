"""What is kept: the rows of each format, a video of the same speed and size, and all of it whole after Ctrl-C."""

import csv
import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from detkit.deploy import sources
from detkit.deploy.predict import predict_sources
from detkit.deploy.predictor import Predictor
from detkit.deploy.sources import open_source
from detkit.errors import UserError
from tests.deploy.fakes import NAMES, BlobDetector, scene

ALL = ("pictures", "json", "csv", "txt")


def predictor(**options) -> Predictor:
    return Predictor(BlobDetector(), NAMES, (128, 128), device="cpu", **options)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    (root / "deep").mkdir(parents=True)
    two = scene(128, 128, ("green", (10, 20, 50, 40)), ("red", (64, 64, 80, 80)))
    for name, image in {"a.png": two, "a.bmp": two[:64], 'deep/空,"1".png': two, "empty.png": scene(128, 128)}.items():
        Image.fromarray(image).save(root / name)
    return root


def write_video(path, count=7, size=(128, 96), fps=12.5):
    """A red square that moves 8 pixels a frame."""
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    for number in range(count):
        image = scene(size[1], size[0], ("red", (8 * number, 32, 8 * number + 32, 64)))
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    video.release()
    return path


def test_a_folder_in_every_format(folder, tmp_path):
    out = tmp_path / "out"
    summary = predict_sources(predictor(), open_source(folder), out, ALL)
    assert summary.paths == {
        "pictures": out,
        "results": out / "predictions.json",
        "table": out / "predictions.csv",
        "labels": out / "labels",
    }
    assert len(json.loads((out / "predictions.json").read_text(encoding="utf-8"))) == 4
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == ["a.bmp", "a.png", "a.png", 'deep/空,"1".png', 'deep/空,"1".png']
    assert rows[1] == {
        "file": "a.png",
        "frame": "",
        "width": "128",
        "height": "128",
        "label": "1",
        "name": "green",
        "score": "0.508",
        "x1": "10.0",
        "y1": "20.0",
        "x2": "50.0",
        "y2": "40.0",
    }
    files = {str(path.relative_to(out / "labels")): path.read_text() for path in (out / "labels").rglob("*.txt")}
    assert files == {
        "a.txt": files["a.txt"],
        "a.png.txt": "1 0.234375 0.234375 0.312500 0.156250 0.508000\n0 0.562500 0.562500 0.125000 0.125000 0.502560\n",
        'deep/空,"1".txt': files["a.png.txt"],
        "empty.txt": "",
        "classes.txt": "red\ngreen\nblue\n",
    }
    assert files["a.txt"].startswith("1 0.234375 0.468750 0.312500 0.312500 ")


def test_only_what_is_asked_for_is_written(folder, tmp_path):
    predict_sources(predictor(), open_source(folder), tmp_path / "out", ["csv", "csv"])
    assert [path.name for path in (tmp_path / "out").glob("[!.]*")] == ["predictions.csv"]
    with pytest.raises(UserError, match="cannot be saved as 'jsno'; did you mean 'json'"):
        predict_sources(predictor(), open_source(folder), tmp_path / "out", ["jsno"])


def test_file_names_that_are_not_utf_8(tmp_path):
    name = os.fsdecode(b"im\xe9.png")
    Image.fromarray(scene(128, 128, ("green", (10, 20, 50, 40)))).save(tmp_path / "plain.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "plain.png").rename(tmp_path / "in" / name)
    out = tmp_path / "out"
    for _ in range(2):
        predict_sources(predictor(), open_source(tmp_path / "in"), out, ALL)
    assert json.loads((out / "predictions.json").read_text(encoding="utf-8"))[0]["file"] == name
    assert (out / "predictions.csv").read_text(encoding="utf-8").splitlines()[1].startswith("im\\udce9.png,")
    assert (out / name).is_file() and (out / "labels" / name).with_suffix(".txt").is_file()
    write_video(tmp_path / "clip.mp4").rename(tmp_path / (name + ".mp4"))
    with pytest.raises(UserError, match="a name that is not in UTF-8; rename it"):
        open_source(tmp_path / (name + ".mp4"))
    with pytest.raises(UserError, match="cannot get a name that is not in UTF-8; give another --output"):
        predict_sources(predictor(), open_source(write_video(tmp_path / "clip.mp4")), tmp_path / name)


def test_a_table_of_nothing_has_its_header(folder, tmp_path):
    predict_sources(predictor(), open_source(folder / "empty.png"), tmp_path / "out", ["csv", "json"])
    assert (tmp_path / "out" / "predictions.csv").read_text().split() == [
        "file,frame,width,height,label,name,score,x1,y1,x2,y2"
    ]
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())[0]["detections"] == []


@pytest.mark.parametrize("size", [(128, 96), (101, 75)])
def test_a_video_becomes_a_video_and_records(tmp_path, size):
    path = write_video(tmp_path / "clip.mp4", size=size)
    with pytest.raises(UserError, match="would be mixed"):
        predict_sources(predictor(), open_source(path), tmp_path)
    out = tmp_path / "out"
    summary = predict_sources(predictor(batch=3), open_source(path), out, ALL)
    assert (summary.images, summary.objects) == (7, 7)
    assert summary.paths["video"] == out / "clip.mp4"
    source = open_source(out / "clip.mp4")
    frames = list(source)
    even = tuple(side // 2 * 2 for side in size)
    assert (source.fps, len(frames), frames[0].image.shape) == (12.5, 7, (even[1], even[0], 3))
    records = json.loads((out / "predictions.json").read_text())
    assert [(item["file"], item["frame"]) for item in records] == [("clip.mp4", number) for number in range(7)]
    for number, item in enumerate(records):
        assert abs(item["detections"][0]["box"][0] - 8 * number) <= 3
    assert sorted(path.name for path in (out / "labels").iterdir()) == [
        "classes.txt",
        *[f"clip_{number:06}.txt" for number in range(7)],
    ]
    with (out / "predictions.csv").open(newline="") as file:
        assert [row["frame"] for row in csv.DictReader(file)] == [str(number) for number in range(7)]


def test_frames_of_another_size_are_not_lost(tmp_path):
    class Changing:
        root, total, fps, live, skipped = None, None, 5.0, False, []

        def __iter__(self):
            for number, side in enumerate((64, 128, 64)):
                yield sources.Frame("odd.cam", np.zeros((side, side, 3), np.uint8), number)

    summary = predict_sources(predictor(), Changing(), tmp_path / "out")
    assert [frame.image.shape for frame in open_source(summary.paths["video"])] == [(64, 64, 3)] * 3
    assert summary.paths["video"].name == "odd.mp4"


class Camera:
    """A camera that runs until Ctrl-C."""

    def __init__(self, target):
        self.frames = 0

    def isOpened(self):
        return True

    def get(self, key):
        return 0.0

    def read(self):
        self.frames += 1
        if self.frames > 5:
            raise KeyboardInterrupt
        return True, cv2.cvtColor(scene(96, 128, ("red", (0, 0, 30, 30))), cv2.COLOR_RGB2BGR)

    def release(self):
        pass


def test_ctrl_c_ends_a_live_source_and_everything_is_whole(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(sources.cv2, "VideoCapture", Camera)
        subject = predictor(batch=4)
        summary = predict_sources(subject, open_source("0"), tmp_path / "out", ALL)
    assert subject.detector.batches == [1] * 5, "a live source does not wait for a batch"
    assert (summary.images, summary.objects, summary.interrupted) == (5, 5, False)
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 5
    assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == 6
    video = open_source(tmp_path / "out" / "camera0.mp4")
    assert (len(list(video)), video.fps) == (5, 30)


def test_ctrl_c_before_the_first_frame_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Camera, "read", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    monkeypatch.setattr(sources.cv2, "VideoCapture", Camera)
    summary = predict_sources(predictor(), open_source("0"), tmp_path / "out", ALL)
    assert (summary.images, summary.paths) == (0, {}) and not (tmp_path / "out").exists()


def test_a_video_that_cannot_be_written_is_a_sentence(tmp_path):
    path = write_video(tmp_path / "clip.mp4", count=2)
    (tmp_path / "out" / "clip.mp4").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot write the video .*leave pictures out of --save"):
        predict_sources(predictor(), open_source(path), tmp_path / "out")
