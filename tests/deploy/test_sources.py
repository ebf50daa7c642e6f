"""What a user may write as a source, and what is said where it cannot be opened."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from detkit.deploy import sources
from detkit.deploy.sources import ImageSource, VideoSource, open_source
from detkit.errors import UserError


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """``photos/`` with three images, two of them in a subfolder; it is beside the current folder."""
    for name in ("a.png", "deep/b.png", "deep/c [1].jpg"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)
    (tmp_path / "photos" / "notes.txt").write_text("hello")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "photos"


def write_video(path: Path, count: int = 6, size: tuple[int, int] = (64, 48), fps: float = 12.5) -> Path:
    """A video whose frames are grey, each lighter than the last by 20."""
    code = "mp4v" if path.suffix == ".mp4" else "MJPG"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), fps, size)
    for number in range(count):
        video.write(np.full((size[1], size[0], 3), 20 * number, np.uint8))
    video.release()
    return path


def names(*texts) -> list[str]:
    source = open_source(*texts)
    assert isinstance(source, ImageSource)
    found = [frame.name for frame in source]
    assert source.total == len(found) and source.fps is None and not source.live
    return found


def test_images_folders_patterns_and_several(folder):
    everything = ["a.png", "deep/b.png", "deep/c [1].jpg"]
    assert names(folder) == names("../photos") == names("../photos/../photos/") == everything
    assert names("../photos/a.png") == ["a.png"]
    assert names("../photos/deep/c [1].jpg") == ["c [1].jpg"], "a file before a pattern"
    assert names("../photos/*.png") == ["a.png"]
    assert names("../photos/**/*.png") == ["a.png", "deep/b.png"]
    assert names(str(folder / "**" / "*")) == everything, "other files are no images"
    assert names("../photos/deep/*", "../photos/a.png") == everything
    assert names("../photos/deep", "../photos") == everything, "each image once"


def test_a_home_folder_and_a_folder_that_looks_like_a_camera(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    assert names("~/photos/a.png") == ["a.png"]
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save("~nobody.png")
    assert names("~nobody.png") == ["~nobody.png"]
    Path("0").symlink_to(folder)
    assert names("./0")[0] == names(Path("0"))[0] == "a.png"


def test_among_several_a_broken_one_is_left_out(folder):
    (folder / "bad.png").write_bytes(b"x")
    source = open_source("../photos/*.png")
    assert [frame.name for frame in source] == ["a.png"]
    assert [item.name for item in source.skipped] == ["bad.png"]
    with pytest.raises(UserError, match=r"bad\.png"):
        list(open_source("../photos/bad.png"))


@pytest.mark.parametrize("name", ["clip.mp4", "CLIP.AVI"])
def test_the_frames_of_a_video(tmp_path, name):
    path = write_video(tmp_path / name.lower())
    path = path.rename(tmp_path / name)
    source = open_source(path)
    assert isinstance(source, VideoSource) and not source.live
    assert (source.root, source.total, source.fps) == (tmp_path, 6, 12.5)
    frames = list(source)
    assert [(frame.name, frame.number, frame.image.shape) for frame in frames] == [(name, i, (48, 64, 3)) for i in range(6)]
    assert [round(frame.image.mean() / 20) for frame in frames] == list(range(6))
    assert len(list(source)) == 6, "from the start again"


def test_a_damaged_video_says_where_it_stopped(tmp_path):
    path = tmp_path / "clip.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    for _ in range(40):
        video.write(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    video.release()
    content = path.read_bytes()
    assert list(open_source(path)) and not open_source(path).skipped
    path.write_bytes(content[: len(content) // 2])
    source = open_source(path)
    for _ in range(2):
        count = len(list(source))
        assert 0 < count < 40
        ((name, reason),) = source.skipped
        assert name == "clip.avi" and reason.startswith(f"stopped at frame {count} of about 40; ")


def test_frames_are_rgb(tmp_path):
    video = cv2.VideoWriter(str(tmp_path / "red.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 64))
    video.write(np.full((64, 64, 3), (0, 0, 255), np.uint8))
    video.release()
    (frame,) = open_source(tmp_path / "red.mp4")
    red, green, blue = frame.image.mean((0, 1))
    assert red > 200 and green < 50 and blue < 50


class FakeCapture:
    """What OpenCV gives for a camera or stream: no count, and no rate."""

    asked: list = []

    def __init__(self, target, frames=3, opened=True):
        self.target, self.left, self.opened, self.released = target, frames, opened, False
        FakeCapture.asked.append(target)

    def isOpened(self):
        return self.opened

    def get(self, key):
        return -1.0 if key == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def read(self):
        self.left -= 1
        return self.left >= 0, np.zeros((8, 8, 3), np.uint8)

    def release(self):
        self.released = True


@pytest.mark.parametrize(
    ("text", "target", "name"),
    [
        ("0", 0, "camera0"),
        ("rtsp://user:secret@host/a", "rtsp://user:secret@host/a", "stream"),
        ("http://h/v.mp4",) * 2 + ("stream",),
    ],
)
def test_cameras_and_streams_are_live(monkeypatch, text, target, name):
    monkeypatch.setattr(sources.cv2, "VideoCapture", FakeCapture)
    source = open_source(text)
    assert FakeCapture.asked[-1] == target
    assert (source.live, source.total, source.root, source.fps) == (True, None, None, sources.FPS)
    assert [(frame.name, frame.number) for frame in source] == [(name, 0), (name, 1), (name, 2)], "no password in names"


def test_a_capture_is_given_back_when_the_reader_stops(monkeypatch):
    monkeypatch.setattr(sources.cv2, "VideoCapture", FakeCapture)
    source = VideoSource("0")
    capture = source._opened
    frames = iter(source)
    next(frames)
    frames.close()
    assert capture.released


@pytest.mark.parametrize(
    ("text", "message"),
    [("0", r"there is no camera 0, .* write \./0"), ("rtsp://host/a", "the stream rtsp://host/a cannot be opened; check")],
)
def test_cameras_and_streams_that_do_not_answer(monkeypatch, text, message):
    monkeypatch.setattr(sources.cv2, "VideoCapture", lambda target: FakeCapture(target, opened=False))
    with pytest.raises(UserError, match=message):
        open_source(text)


def test_videos_that_cannot_be_read(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"there is no video .*none\.mp4"):
        open_source(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(UserError, match=r"text\.mp4 is cut short or in no format that can be read; convert it to mp4"):
        open_source(tmp_path / "text.mp4")
    monkeypatch.setattr(sources.cv2, "VideoCapture", lambda target: FakeCapture(target, frames=0))
    with pytest.raises(UserError, match="has no frame that can be read"):
        list(open_source("0"))


def test_what_is_not_there(folder):
    for text in ("../photos/none.png", "nowhere"):
        with pytest.raises(UserError, match=f"there is no image or folder {text}"):
            open_source(text)
    for text in (".", "../photos/*.tif", "../photos/notes*"):
        with pytest.raises(UserError, match="there are no images in"):
            open_source(text)
    with pytest.raises(UserError, match="opened by itself; give 0 alone"):
        open_source("../photos/a.png", "0")
