"""What every run is told before its first step, and what is not looked at again."""

import pytest

from detkit.data import headers
from detkit.data.check.boxes import notes_before_training, repeated_boxes
from detkit.data.check.examine import check
from detkit.data.files import CACHE_FOLDER
from detkit.data.layout import open_data
from detkit.data.spec import Data
from detkit.errors import UserError

from .conftest import make_folder, picture, write_image
from .test_check_faults import planted, scene

__all__ = ["planted"]


def notes(data):
    return notes_before_training(open_data(data))


def test_nothing_is_said_of_a_clean_set(planted):
    data = planted()
    assert notes(data) == []
    check(data)
    assert notes(data) == []


def test_what_annotations_tell_is_told(planted):
    def spoil(content):
        content["annotations"].append(content["annotations"][0] | {"id": 9})
        content["images"][1]["file_name"] = "train0.png"

    data = planted(train=spoil, val=lambda content: content["images"][1].update(file_name="train2.png"))
    boxes, files, shared = notes(data)
    assert boxes.startswith("train: boxes that are written twice, of which one is always missed: 1 (")
    assert files.startswith("train: images that are listed twice: 1 (")
    assert shared.startswith("val: images that are training images too") and "train2.png" in shared
    splits = open_data(data)
    assert len(splits.train.boxes) == 4, "a run takes the boxes as they are"
    assert repeated_boxes(splits.train).tolist() == [1]


def test_what_a_check_has_seen_is_told_as_long_as_it_holds(planted, tmp_path):
    data = planted(suffix="bmp")
    images = tmp_path / "images"
    images.joinpath("val0.bmp").write_bytes(images.joinpath("train1.bmp").read_bytes())
    images.joinpath("train2.bmp").write_bytes(images.joinpath("train2.bmp").read_bytes()[:3000])
    assert notes(data) == []
    check(data)
    damaged, shared = notes(data)
    assert damaged.startswith("train: images that are damaged, and left out: 1 (") and "train2.bmp" in damaged
    assert shared.startswith("val: images that are training images too") and "val0.bmp" in shared
    write_image(images / "val0.bmp", scene(500))
    assert [note[:5] for note in notes(data)] == ["train"]


def test_headers_of_many_images_are_read_once(tmp_path, monkeypatch):
    data = Data(root=str(make_folder(tmp_path, count=4, val=2)))
    open_data(data)
    assert not (tmp_path / "images" / CACHE_FOLDER).exists(), "few images are no matter"
    monkeypatch.setattr(headers, "MANY", 2)
    open_data(data)
    with monkeypatch.context() as patch:
        patch.setattr(headers, "looks_right", lambda *_: pytest.fail("read again"))
        open_data(data)
    write_image(tmp_path / "images" / "1.png", picture((31, 33), {}))
    with pytest.raises(UserError, match=r"1\.png is 33x31 pixels"):
        open_data(data)


def test_where_nothing_can_be_written_headers_are_read_each_time(tmp_path, monkeypatch):
    data = Data(root=str(make_folder(tmp_path, count=4, val=2)))
    monkeypatch.setattr(headers, "MANY", 2)
    (tmp_path / "images" / CACHE_FOLDER).write_text("in the way")
    open_data(data)
    assert check(data).splits.keys() == {"train", "val"}
