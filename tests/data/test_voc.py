"""Pascal VOC's format: layouts, corners, classes, mending, and the sentences."""

import json
import os
import shutil

import numpy as np
import pytest

from detkit.data.dataset import EvalDataset
from detkit.data.layout import open_data
from detkit.data.spec import Data
from detkit.errors import UserError

from .folders import images, shown, texts, voc

DOG = voc([("dog", 5, 6, 25, 16)])
CAT = voc([("cat", 5, 6, 25, 16), ("dog", 1, 1, 2, 2)])
BOX = (5, 6, 20, 10)


@pytest.fixture
def small(tmp_path):
    """Writes training images ``a`` and ``c`` and a validation image ``b`` with these XML files, and returns the Data."""

    def make(a=DOG, b=DOG, c=CAT, lists=True, **fields):
        images(tmp_path, "JPEGImages/a.png", "JPEGImages/b.png", "JPEGImages/c.png")
        texts(tmp_path, {"Annotations/a.xml": a, "Annotations/b.xml": b, "Annotations/c.xml": c})
        if lists:
            texts(tmp_path, {"ImageSets/Main/train.txt": "a\nc\n", "ImageSets/Main/val.txt": "b\n"})
        return Data(root=str(tmp_path), **fields)

    return make


def test_the_devkits_layout(small):
    splits = open_data(small())
    assert (splits.names, splits.notes) == (("cat", "dog"), [])
    assert shown(splits.train) == [("a", "dog", *BOX), ("c", "cat", *BOX), ("c", "dog", 1, 1, 1, 1)]
    assert shown(splits.val) == [("b", "dog", *BOX)]
    written = splits.val.to_coco()
    names = {category["id"]: category["name"] for category in written["categories"]}
    (box,) = written["annotations"]
    assert (box["id"], box["image_id"], names[box["category_id"]], box["bbox"], box["area"]) == (
        1,
        1,
        "dog",
        [5, 6, 20, 10],
        200,
    )


@pytest.mark.parametrize(
    ("pictures", "files", "fields"),
    [
        (("train/a.png", "valid/b.png"), ("train/a.xml", "valid/b.xml"), {}),
        (("JPEGImages/train/a.png", "JPEGImages/val/b.png"), ("Annotations/train/a.xml", "Annotations/val/b.xml"), {}),
        (("images/a.png", "images/b.png"), ("annotations/train/a.xml", "annotations/val/b.xml"), {}),
        (("a.png", "b.png"), ("a.xml", "b.xml"), {"train_list": "l/t.txt", "val_list": "l/v.txt"}),
        (
            ("images/a.png", "images/b.png"),
            ("boxes/a.xml", "boxes/b.xml"),
            {"train_annotations": "boxes", "val_annotations": "boxes", "train_list": "l/t.txt", "val_list": "l/v.txt"},
        ),
        (
            ("p/a.png", "p/b.png"),
            ("q/a.xml", "r/b.xml"),
            {"train_annotations": "q", "val_annotations": "r", "train_images": "p", "val_images": "p"},
        ),
    ],
)
def test_other_layouts(tmp_path, pictures, files, fields):
    images(tmp_path, *pictures)
    texts(tmp_path, dict.fromkeys(files, DOG) | {"l/t.txt": "images/a.png\n", "l/v.txt": "b.xml\n"})
    splits = open_data(Data(root=str(tmp_path), **fields))
    assert shown(splits.train) == [("a", "dog", *BOX)]
    assert shown(splits.val) == [("b", "dog", *BOX)]


def test_the_challenges_own_files_count_pixels_from_one(small):
    splits = open_data(small(a=voc([("dog", 1, 1, 60, 40)], database="The VOC2007 Database"), c=voc([("dog", 0, 0, 60, 40)])))
    assert shown(splits.train) == [("a", "dog", 0, 0, 60, 40), ("c", "dog", 0, 0, 60, 40)]
    assert splits.notes == []


def test_difficult_objects_are_kept_and_counted_parts_are_no_objects(small):
    splits = open_data(small(a=voc([("hard", 1, 1, 9, 9), ("dog", 1, 1, 9, 9)])))
    assert splits.names == ("cat", "dog", "hard") and splits.train.starts.tolist() == [0, 2, 4]
    assert not splits.train.crowds.any()
    assert len(splits.notes) == 1
    assert "objects marked as difficult, kept: 1 (" in splits.notes[0] and "a.xml, object 1" in splits.notes[0]


def test_bad_objects_are_mended_and_counted_by_file_and_object(small):
    objects = [
        ("dog", 50, 30, 70, 35),
        ("dog", 9, 9, 9, 20),
        ("dog", 20, 9, 9, 20),
        ("dog", "x", 9, 9, 20),
        ("dog", 70, 9, 90, 20),
        ("", 1, 1, 9, 9),
        ("dog", "nan", 1, 9, 9),
        ("dog", 1.5, 2.25, 9, 9),
    ]
    splits = open_data(small(a=voc(objects), c=voc()))
    assert splits.train.starts.tolist() == [0, 2, 2]
    assert shown(splits.train) == [("a", "dog", 50, 30, 10, 5), ("a", "dog", 1.5, 2.25, 7.5, 6.75)]
    text = "\n".join(splits.notes)
    for kind, count, number in (
        ("reaching out of their image, clipped", 1, 1),
        ("without width or height, dropped", 2, 2),
        ("that are not four finite numbers, dropped", 2, 4),
        ("outside their image, dropped", 1, 5),
        ("of a category that the file does not list, dropped", 1, 6),
    ):
        assert f"boxes {kind}: {count} (" in text and f"a.xml, object {number}, for example" in text, kind
    assert len(splits.notes) == 5


def test_classes_in_a_given_order(small, tmp_path):
    assert open_data(small(names=("dog", "cat"))).names == ("dog", "cat")
    texts(tmp_path, {"classes.txt": "dog\nbird\ncat\n"})
    assert open_data(small()).names == ("dog", "bird", "cat")
    splits = open_data(small(names=("dog",)))
    assert splits.names == ("dog",) and "of a category that the file does not list, dropped: 1" in splits.notes[0]
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"has the category 'zebra', which .*train\.txt lacks"):
        open_data(small(b=voc([("zebra", 1, 1, 9, 9)])))


def test_sizes_come_from_the_picture_where_the_file_has_none(small):
    assert open_data(small(a=voc([("dog", 5, 6, 25, 16)], size=(0, 0)))).train.size(0) == (40, 60)


def test_the_named_picture_decides_where_several_have_the_files_name(small, tmp_path):
    images(tmp_path, "JPEGImages/a.jpg")
    splits = open_data(small(a=voc([("dog", 5, 6, 25, 16)], image="C:\\pictures\\a.jpg")))
    assert [path.rsplit("/", 1)[-1] for path in splits.train.paths] == ["a.jpg", "c.png"]


def test_a_picture_of_another_name_is_found_by_what_the_file_says_and_is_no_stray(small, tmp_path):
    images(tmp_path, "JPEGImages/renamed.png")
    data = small(a=voc([("dog", 5, 6, 25, 16)], image="renamed.png"), background=True)
    (tmp_path / "JPEGImages/a.png").unlink()
    splits = open_data(data)
    assert [path.rsplit("/", 1)[-1] for path in splits.train.paths] == ["renamed.png", "c.png"]
    assert splits.notes == []


def test_missing_pictures_and_files(small, tmp_path):
    data = small()
    (tmp_path / "JPEGImages/c.png").unlink()
    with pytest.raises(UserError, match=r"1 of the 2 images that .*train\.txt lists are missing, for example .*c\.jpg"):
        open_data(data)
    data = small()
    texts(tmp_path, {"ImageSets/Main/train.txt": "a\nnobody\n"})
    assert "images listed, but without an XML file: 1 (" in open_data(data).notes[0]
    texts(tmp_path, {"ImageSets/Main/train.txt": "nobody\n"})
    with pytest.raises(UserError, match=r"train\.txt names no image that has an XML file"):
        open_data(data)
    images(tmp_path, "elsewhere/q.png")
    texts(tmp_path, {"other/q.xml": DOG})
    with pytest.raises(UserError, match=r"the image of .*q\.xml is in none of .*data\.train_images=FOLDER"):
        open_data(Data(root=str(tmp_path), train_annotations="other", val_annotations="other"))


def test_splits_that_nothing_tells_apart(small, tmp_path):
    with pytest.raises(
        UserError, match=r"holds 3 XML files, .* for train: write ImageSets/Main/train\.txt .*data\.train_list=FILE"
    ):
        open_data(small(lists=False))
    texts(tmp_path, {"train.txt": "a\n", "val.txt": "b\n"})
    assert len(open_data(small(lists=False)).train) == 1
    texts(tmp_path, {"train/a.xml": DOG, "train2/a.xml": DOG})
    with pytest.raises(UserError, match=r"several train folders: train, train2; write data\.train_annotations"):
        open_data(small(lists=False))
    with pytest.raises(UserError, match="there are no XML files in"):
        open_data(Data(root=str(tmp_path), format="voc", train_annotations="nowhere"))


@pytest.mark.parametrize(
    ("text", "sentence"), [("<annotation><size>", "is no XML, or was cut short"), ("<html></html>", "it holds <html>")]
)
def test_bad_files_are_a_sentence(small, text, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        open_data(small(a=text))
    assert "a.xml" in str(error.value)


def test_blood_cells_in_both_formats_are_the_same_samples(shared_data, tmp_path):
    root = shared_data / "bccd"
    for split in ("train", "val"):
        content = json.loads((root / f"annotations/instances_{split}.json").read_text())
        texts(tmp_path, {f"{split}.txt": "\n".join(image["file_name"] for image in content["images"])})
    lists = {f"{split}_list": str(tmp_path / f"{split}.txt") for split in ("train", "val")}
    theirs = open_data(Data(root=str(root)))
    ours = open_data(Data(root=str(root), train_annotations="voc", val_annotations="voc", names=theirs.names, **lists))
    assert theirs.notes == []
    assert sum("boxes without width or height, dropped: 1 (" in note for note in ours.notes) == len(ours.notes) == 2
    image = np.zeros((480, 640, 3), np.uint8)
    for one, other in ((theirs.train, ours.train), (theirs.val, ours.val)):
        assert list(one.paths) == list(other.paths)
        for index in range(len(one)):
            a, b = one.sample(index, image), other.sample(index, image)
            assert a.boxes.tolist() == b.boxes.tolist() and a.labels.tolist() == b.labels.tolist() and a.size == b.size


@pytest.mark.parametrize("encoding", ["GBK", "gb2312", "Shift_JIS", "Big5", "ISO-8859-1", "UTF-16", "utf-8", "windows-1252"])
def test_the_declared_encoding_is_decoded(small, tmp_path, encoding):
    name = "café" if encoding in ("ISO-8859-1", "windows-1252") else "犬"
    data = small(b=voc([(name, 5, 6, 25, 16)]), c=DOG)
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + voc([(name, 5, 6, 25, 16)])
    (tmp_path / "Annotations/a.xml").write_bytes(text.encode(encoding))
    assert shown(open_data(data).train)[0] == ("a", name, *BOX)


@pytest.mark.parametrize(
    "content",
    [
        b'<?xml version="1.0" encoding="GBK"?><annotation>\xff\xff</annotation>',
        b'<?xml version="1.0" encoding="martian"?><annotation/>',
        b'<?xml version="1.0"?>\n<annotation>\xff</annotation>',
        b"<annotation>\n<object></annotation>",
        b"",
    ],
)
def test_what_is_no_xml_is_a_sentence(small, tmp_path, content):
    data = small()
    (tmp_path / "Annotations/a.xml").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.xml is no XML, or was cut short \(.*export it again"):
        open_data(data)


def test_an_infinite_size_is_none(small):
    splits = open_data(small(a=voc([("dog", 5, 6, 25, 16)], size=("inf", "1e999"))))
    assert splits.train.size(0) == (40, 60)


def test_file_names_that_are_no_utf8(small, tmp_path):
    data, name = small(lists=False), os.fsdecode(b"im\xe9")
    for split, stem in (("train", name), ("valid", "b")):
        texts(tmp_path / split, {f"{stem}.xml": DOG})
        images(tmp_path / split, "x.png")
        (tmp_path / split / "x.png").rename(tmp_path / split / f"{stem}.png")
    for folder in ("Annotations", "JPEGImages"):
        shutil.rmtree(tmp_path / folder)
    annotations = open_data(data).train
    assert annotations.paths[0] == str(tmp_path / "train" / f"{name}.png")
    assert EvalDataset(annotations, data)[0].size == (40, 60)
