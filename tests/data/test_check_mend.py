"""Mended annotations: new files that the readers take, in which a check finds nothing more to mend."""

import json

import pytest

from detkit.data.check.examine import check
from detkit.data.check.mend import annotation_file, mended, write_annotations
from detkit.data.layout import open_data
from detkit.data.spec import Data
from detkit.errors import UserError

from .conftest import write_image
from .folders import shown, texts
from .test_check_faults import planted, scene

__all__ = ["planted"]


def spoil(content):
    first, second, third = content["annotations"]
    content["annotations"] += [first | {"id": 9}, second | {"id": 10, "image_id": 1}, second | {"id": 2, "bbox": [1, 1, 0, 4]}]
    third["bbox"] = [50, 20, 30, 30]
    content["images"][1]["file_name"] = "train0.png"  # image 2 is image 1 once more


def write(checked, out):
    for split, part in checked.splits.items():
        write_annotations(mended(part), annotation_file(out, split))


def test_what_was_written_is_in_order(planted, tmp_path):
    data = planted(train=spoil)
    first = check(data)
    assert first.fails
    write(first, tmp_path / "elsewhere" / "new")
    again = Data(root=str(tmp_path / "elsewhere" / "new"))
    assert {finding.what for finding in check(again).findings} <= {"image files that no annotation tells of"}
    cat, dog = (("train0", "cat", 4.0, 4.0, 20.0, 10.0), ("train0", "dog", 5.0, 4.0, 20.0, 10.0))
    assert shown(open_data(again).train) == [cat, dog, ("train2", "cat", 50.0, 20.0, 10.0, 20.0)]
    assert open_data(again).names == ("cat", "dog")
    assert open_data(again).val.image_ids.tolist() == open_data(data).val.image_ids.tolist()


def test_broken_images_are_not_listed(planted, tmp_path):
    data = planted()
    (tmp_path / "images" / "train1.png").unlink()
    write(check(data), tmp_path / "new")
    assert open_data(Data(root=str(tmp_path / "new"))).train.image_ids.tolist() == [1, 3]


def test_nothing_is_overwritten(planted, tmp_path):
    part = check(planted()).splits["train"]
    write_annotations(part, tmp_path / "a" / "b.json")
    before = (tmp_path / "a" / "b.json").read_bytes()
    with pytest.raises(UserError, match=r"b\.json exists, and is not overwritten"):
        write_annotations(part, tmp_path / "a" / "b.json")
    assert (tmp_path / "a" / "b.json").read_bytes() == before


def test_yolo_becomes_a_file_that_the_same_images_go_with(tmp_path):
    for split, seed in (("train", 1), ("val", 2)):
        write_image(tmp_path / "images" / split / "a.png", scene(seed))
    row = "0 0.5 0.5 0.2 0.2\n"
    texts(tmp_path, {"classes.txt": "cat\n", "labels/train/a.txt": row + row, "labels/val/a.txt": row})
    write(check(Data(root=str(tmp_path))), tmp_path / "new")
    splits = open_data(Data(root=str(tmp_path / "new")))
    assert shown(splits.train) == shown(splits.val) == [("a", "cat", 24.0, 16.0, 12.0, 8.0)]
    content = json.loads((tmp_path / "new" / "annotations" / "instances_train.json").read_text())
    assert content["images"][0]["file_name"] == "../images/train/a.png"
