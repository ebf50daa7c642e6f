"""Which format a folder is taken for, and image files that no annotation tells of."""

import pytest

from detkit.data.layout import open_data, open_val
from detkit.data.spec import Data
from detkit.errors import UserError

from .conftest import coco
from .folders import SIZE, images, shown, texts, voc

ROW = "0 0.5 0.5 0.5 0.5\n"
XML = voc([("cat", 1, 1, 9, 9)])


@pytest.fixture
def both(tmp_path, write_json):
    """A folder in COCO's and YOLO's format at once."""
    images(tmp_path, "images/train/a.png", "images/val/b.png")
    for split, name in (("train", "a.png"), ("val", "b.png")):
        content = coco([(1, name, SIZE)], [(1, 2, (1, 2, 3, 4))])
        write_json(tmp_path / f"annotations/instances_{split}.json", content)
        texts(tmp_path, {f"labels/{split}/{name[0]}.txt": ROW})
    texts(tmp_path, {"data.yaml": "names: [cat, dog]"})
    return tmp_path


def test_several_formats_need_a_choice(both):
    with pytest.raises(
        UserError, match=r"several formats: coco \(annotations/inst.*\), yolo \(data\.yaml\); .*data\.format=coco"
    ):
        open_data(Data(root=str(both)))
    assert shown(open_data(Data(root=str(both), format="coco")).train) == [("a", "dog", 1, 2, 3, 4)]
    assert shown(open_data(Data(root=str(both), format="yolo")).train) == [("a", "cat", 15, 10, 30, 20)]


def test_named_annotations_say_the_format(both):
    named = {f"{split}_annotations": f"annotations/instances_{split}.json" for split in ("train", "val")}
    assert shown(open_data(Data(root=str(both), **named)).train) == [("a", "dog", 1, 2, 3, 4)]
    named = {f"{split}_annotations": f"labels/{split}" for split in ("train", "val")}
    assert shown(open_data(Data(root=str(both), **named)).train) == [("a", "cat", 15, 10, 30, 20)]
    texts(both, {"xml/a.xml": XML, "xml/b.xml": XML})
    named = {f"{split}_annotations": "xml" for split in ("train", "val")}
    places = {f"{split}_images": f"images/{split}" for split in ("train", "val")}
    lists = {f"{split}_list": f"{split}.txt" for split in ("train", "val")}
    texts(both, {"train.txt": "a", "val.txt": "b"})
    assert shown(open_data(Data(root=str(both), **named, **places, **lists)).train) == [("a", "cat", 1, 1, 8, 8)]


def test_fields_of_other_formats_are_refused(both):
    for field, value in (("names", ("cat",)), ("train_list", "x.txt"), ("val_list", "x.txt")):
        with pytest.raises(UserError, match=rf"data\.{field} is for data in YOLO's or VOC's format"):
            open_data(Data(root=str(both), format="coco", **{field: value}))


def test_an_unknown_folder_names_all_layouts(tmp_path):
    images(tmp_path, "a.png")
    with pytest.raises(UserError) as error:
        open_data(Data(root=str(tmp_path)))
    for word in (
        "instances_train",
        "_annotations.coco.json",
        "data.yaml",
        "labels/train/",
        "Annotations/*.xml",
        "data.format=",
    ):
        assert word in str(error.value)


@pytest.fixture
def shared_folder(tmp_path, write_json):
    """COCO's format with one folder of images for train (a), val (b) and test (c), and two more files (d, e)."""
    images(tmp_path, *(f"images/{name}.png" for name in "abcde"))
    texts(tmp_path, {"images/notes.txt": "x", "annotations/other.json": "no json", "annotations/list.json": "[1]"})
    for split, name in (("train", "a"), ("val", "b"), ("test", "c")):
        content = coco([(7, f"{name}.png", SIZE)], [(7, 1, (1, 2, 3, 4))])
        write_json(tmp_path / f"annotations/instances_{split}.json", content)
    return tmp_path


def test_strays_are_told_and_trained_on_by_one_flag(shared_folder):
    splits = open_data(Data(root=str(shared_folder)))
    assert len(splits.train) == len(splits.val) == 1
    assert len(splits.notes) == 1
    assert "images without annotation: 2 (" in splits.notes[0] and "d.png" in splits.notes[0]
    assert "data.background=true trains on them" in splits.notes[0]
    splits = open_data(Data(root=str(shared_folder), background=True))
    assert [path[-5:] for path in splits.train.paths] == ["a.png", "d.png", "e.png"]
    assert (splits.train.starts.tolist(), splits.train.image_ids.tolist()) == ([0, 1, 1, 1], [7, 8, 9])
    assert splits.train.size(2) == SIZE and len(splits.val) == 1
    assert splits.notes[0].endswith("trained on as background")
    assert len(open_data(Data(root=str(shared_folder), background=True, limit=2)).train) == 2
    assert open_val(Data(root=str(shared_folder), background=True), ("cat", "dog"))[1] == []


def test_strays_of_voc_data(tmp_path):
    images(tmp_path, *(f"JPEGImages/{name}.png" for name in "abcde"))
    texts(tmp_path, {f"Annotations/{name}.xml": XML for name in "abc"})
    texts(tmp_path, {"ImageSets/Main/train.txt": "a", "ImageSets/Main/val.txt": "b\ne"})
    splits = open_data(Data(root=str(tmp_path), background=True))
    assert [path[-5:] for path in splits.train.paths] == ["a.png", "d.png"]  # c is annotated, e is for validation
    assert [path[-5:] for path in splits.val.paths] == ["b.png"]
    text = "\n".join(splits.notes)
    assert "train.txt: images without annotation: 1 (" in text and "val.txt: images without annotation: 1 (" in text
    (tmp_path / "train").mkdir()
    (tmp_path / "valid").mkdir()
    images(tmp_path, "train/a.png", "train/z.png", "valid/b.png", "valid/y.png")
    texts(tmp_path, {"train/a.xml": XML, "valid/b.xml": XML})
    splits = open_data(Data(root=str(tmp_path), background=True))
    assert [path[-5:] for path in splits.train.paths] == ["a.png", "z.png"]
    assert "1 (" in splits.notes[1] and "y.png" in splits.notes[1] and splits.notes[1].endswith("left out")


def test_strays_beyond_the_limit_and_of_other_folders(tmp_path, write_json):
    images(tmp_path, "p/a.png", "p/b.png", "p/c.png", "p/d.png")
    texts(tmp_path, {"q/a.xml": XML, "r/b.xml": XML, "r/c.xml": XML})
    named = {"train_annotations": "q", "val_annotations": "r", "train_images": "p", "val_images": "p"}
    (note,) = open_data(Data(root=str(tmp_path), limit=1, **named)).notes
    assert "images without annotation: 1 (" in note and "d.png" in note
    root = tmp_path / "coco"
    images(root, "train/a.png", "train/b.png", "val/b.png", "val/c.png")
    for split, names in (("train", ["a.png"]), ("val", ["b.png", "c.png"])):
        content = coco([(i, name, SIZE) for i, name in enumerate(names)], [(0, 1, (1, 2, 3, 4))])
        write_json(root / f"annotations/instances_{split}.json", content)
    (note,) = open_data(Data(root=str(root), limit=1)).notes
    assert "images without annotation: 1 (" in note and "train/b.png" in note
