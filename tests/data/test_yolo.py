"""YOLO's format: layouts, rows, names, mending, and the sentences."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detkit.data.cache import Images
from detkit.data.data_yaml import read_data_yaml
from detkit.data.dataset import EvalDataset
from detkit.data.files import read_list
from detkit.data.layout import open_data, open_val
from detkit.data.spec import Data
from detkit.errors import UserError

from .folders import images, shown, texts

ROW = "1 0.5 0.5 0.5 0.25\n"  # of a 60x40 image: x 15, y 15, width 30, height 10
BOX = (15, 15, 30, 10)
NAMES = "names: [cat, dog]\n"


@pytest.fixture
def small(tmp_path):
    """Writes one training image ``a`` and one validation image ``b``, with these rows, and returns the Data."""

    def make(train=ROW, val=ROW, yaml=NAMES, **fields):
        images(tmp_path, "images/train/a.png", "images/val/b.png")
        texts(tmp_path, {"labels/train/a.txt": train, "labels/val/b.txt": val} | ({"data.yaml": yaml} if yaml else {}))
        return Data(root=str(tmp_path), **fields)

    return make


@pytest.mark.parametrize(
    ("pictures", "labels", "fields"),
    [
        (("images/train/a.png", "images/val/b.png"), ("labels/train/a.txt", "labels/val/b.txt"), {}),
        (("images/train2017/a.png", "images/val2017/b.png"), ("labels/train2017/a.txt", "labels/val2017/b.txt"), {}),
        (("images/train/x/y/a.png", "images/val/b.png"), ("labels/train/x/y/a.txt", "labels/val/b.txt"), {}),
        (("train/images/a.png", "valid/images/b.png"), ("train/labels/a.txt", "valid/labels/b.txt"), {}),
        (("images/a.png", "images/b.png"), ("labels/a.txt", "labels/b.txt"), {"train_list": "l/t.txt", "val_list": "l/v.txt"}),
        (("one/a.png", "two/b.png"), ("one/a.txt", "two/b.txt"), {"train_images": "one", "val_images": "two"}),
        (
            ("p/one/a.png", "p/two/b.png"),
            ("q/a.txt", "r/b.txt"),
            {"train_images": "p/one", "val_images": "p/two", "train_annotations": "q", "val_annotations": "r"},
        ),
    ],
)
def test_layouts(tmp_path, pictures, labels, fields):
    images(tmp_path, *pictures)
    texts(tmp_path, dict.fromkeys(labels, ROW) | {"data.yaml": NAMES, "l/t.txt": "images/a.png\n", "l/v.txt": "images/b.png\n"})
    splits = open_data(Data(root=str(tmp_path), **fields))
    assert (splits.names, splits.notes) == (("cat", "dog"), [])
    assert shown(splits.train) == [("a", "dog", *BOX)]
    assert shown(splits.val) == [("b", "dog", *BOX)]


def test_lists_at_the_root_tell_the_splits_apart(tmp_path):
    images(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    texts(tmp_path, dict.fromkeys(("labels/a.txt", "labels/b.txt", "labels/c.txt"), ROW) | {"labels/classes.txt": "cat\ndog\n"})
    texts(tmp_path, {"train.txt": "./images/a.png\nimages/c.png\n\n", "val.txt": str(tmp_path / "images/b.png")})
    splits = open_data(Data(root=str(tmp_path)))
    assert [row[0] for row in shown(splits.train)] == ["a", "c"]
    assert [row[0] for row in shown(splits.val)] == ["b"]
    (tmp_path / "train.txt").write_text("images/a.png\nimages/gone.png")
    with pytest.raises(UserError, match=r"1 of the 2 images that .*train\.txt lists are missing, for example .*gone\.png"):
        open_data(Data(root=str(tmp_path)))


def test_a_folder_called_images_above_the_root_is_not_renamed(tmp_path):
    root = tmp_path / "images" / "set"
    images(root, "one/a.png")
    texts(root, {"one/a.txt": ROW, "classes.txt": "cat\ndog"})
    data = Data(root=str(root), format="yolo", train_images="one", val_images="one")
    assert shown(open_data(data).train) == [("a", "dog", *BOX)]


@pytest.mark.parametrize(
    "yaml",
    [
        "train: images/one\nval: images/two",
        "path: .\ntrain: images/one\nval: images/two",
        "path: ../datasets/elsewhere\ntrain: images/one\nval: images/two",
        "train: ../images/one\nval: ../images/two",
        "train: [images/one]\nvalid: [images/two]",
        "path: images\ntrain: one\nval: two",
        "train: lists/t.txt\nval: lists/v.txt",
    ],
)
def test_the_entries_of_data_yaml_are_honoured(tmp_path, yaml):
    images(tmp_path, "images/one/a.png", "images/two/b.png")
    texts(tmp_path, {"labels/one/a.txt": ROW, "labels/two/b.txt": ROW, "mine.yaml": f"{NAMES}{yaml}\n"})
    texts(tmp_path, {"lists/t.txt": "images/one/a.png", "lists/v.txt": "images/two/b.png"})
    splits = open_data(Data(root=str(tmp_path)))
    assert shown(splits.train) == [("a", "dog", *BOX)]
    assert shown(splits.val) == [("b", "dog", *BOX)]


def test_labels_whose_image_is_missing_are_told(small, tmp_path):
    data = small()
    texts(tmp_path, {"labels/train/lost.txt": ROW, "labels/train/x/odd.txt": ROW, "images/train/x/odd.heic": ""})
    texts(tmp_path, {"labels/train/classes.txt": "cat\ndog\n", "labels/train/none.txt": "\n"})
    folder = tmp_path / "images/train"
    for limit in (None, 1):
        [note] = open_data(data.model_copy(update={"limit": limit})).notes
        assert note.startswith(f"{folder}: label files without an image, left out: 2 ({tmp_path}/labels/train/lost.txt, for ")


def test_labels_of_further_splits_are_not_missed_an_image(tmp_path):
    images(tmp_path, "i/train/a.png", "i/val/b.png", "i/test/c.png", "beside/a.png", "beside/b.png")
    texts(tmp_path, {f"{folder}/{name}.txt": ROW for folder in ("all", "beside") for name in "abc"} | {"data.yaml": NAMES})
    named = {"train_images": "i/train", "val_images": "i/val", "train_annotations": "all", "val_annotations": "all"}
    for fields in (named, {"train_images": "beside", "val_images": "beside"}):
        assert open_data(Data(root=str(tmp_path), **fields)).notes == []


def test_entries_of_data_yaml_that_lead_nowhere_leave_the_layout(small):
    data = small(yaml=NAMES + "path: /nowhere/at/all\ntrain: x/y\nval: 3\n")
    assert shown(open_data(data).train) == [("a", "dog", *BOX)]


def test_names(small, tmp_path):
    assert open_data(small(yaml="names: {1: dog, 0: cat}")).names == ("cat", "dog")
    gaps = open_data(small(yaml="names: {1: dog, 7: cat}", train=ROW + "7 .5 .5 .1 .1"))
    assert (gaps.names, gaps.train.labels.tolist(), gaps.train.category_ids.tolist()) == (("dog", "cat"), [0, 1], [1, 7])
    assert open_data(small(names=("x", "y"))).names == ("x", "y")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(UserError, match=r"nothing names their classes; write data\.names=cat,dog .*data\.yaml .*classes\.txt"):
        open_data(small(yaml=None))
    texts(tmp_path, {"classes.txt": "\ufeffcat\n dog \n\n"})
    assert open_data(small(yaml=None)).names == ("cat", "dog")


@pytest.mark.parametrize(
    ("yaml", "sentence"),
    [
        ("names: [cat, no]", "the name of class 1 is False; write it in quotes"),
        ("names: cat", "'names' must be class names"),
        ("names: {a: cat}", "'names' must be class names"),
        ("names: []", "'names' must be class names"),
        ("names: [cat, cat]", "two classes have the name 'cat'"),
        ("names: [cat", "is no YAML"),
        ("nc: 3\nnames: [cat, dog]", "nc is 3, and there are 2 names; mend whichever is wrong"),
    ],
)
def test_bad_descriptions_are_a_sentence(small, yaml, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        open_data(small(yaml=yaml))
    assert "data.yaml" in str(error.value)


def test_several_descriptions_need_a_choice(tmp_path):
    texts(tmp_path, {"a.yaml": NAMES, "b.yaml": NAMES, "c.yaml": "key: 1"})
    with pytest.raises(UserError, match=r"several descriptions: a\.yaml, b\.yaml; rename"):
        read_data_yaml(tmp_path)


def test_rows_are_mended_and_counted_by_file_and_line(small):
    rows = [
        "0 0.5 0.5 0.5 0.5",
        "",
        "0 0.5 0.5 0.5",
        "0 0.5 0.5 0.5 0.5 0.9",
        "cat 0.5 0.5 0.5 0.5",
        "0 nan 0.5 0.5 0.5",
        "0 0.5 inf 0.5 0.5",
        "2 0.5 0.5 0.5 0.5",
        "0.5 0.5 0.5 0.5 0.5",
        "-1 0.5 0.5 0.5 0.5",
        "0 30 20 10 10",
        "0 1.0 0.5 0.5 0.5",
        "0 1.5 0.5 0.5 0.5",
        "0 0.5 0.5 0 0.5",
        "0 0.5 0.5 -0.1 0.5",
        "1.0 0.1 0.1 0.4 0.2 0.3 0.8",
        "0 0.5 0.5 1.0000001 0.5",
    ]
    splits = open_data(small(train="\n".join(rows)))
    assert shown(splits.train) == [
        ("a", "cat", 15, 10, 30, 20),
        ("a", "cat", 45, 10, 15, 20),
        ("a", "dog", 6, 4, 18, 28),
        ("a", "cat", 0, 10, 60, 20),
    ]
    text = "\n".join(splits.notes)
    for phrase in (
        "rows that are neither 5 numbers (class x y width height) nor a class and a polygon, dropped: 2 (",
        "rows that are not numbers, dropped: 1 (",
        "rows with numbers that are not finite, dropped: 2 (",
        "rows of a class that is none of the 2 named ones, dropped: 3 (",
        "rows whose coordinates are not shares of the image, from 0 to 1, dropped: 1 (",
        "boxes reaching out of their image, clipped: 1 (",
        "boxes outside their image, dropped: 1 (",
        "boxes without width or height, dropped: 2 (",
        "polygons, replaced by their bounding boxes: 1 (",
    ):
        assert phrase in text, phrase
    assert len(splits.notes) == 9
    for line in (3, 5, 6, 8, 11, 12, 13, 14, 16):
        assert f"a.txt, line {line}, for example)" in text, line


def test_keypoints_follow_the_box_where_the_description_says_so(small):
    row = "0 0.5 0.5 0.5 0.5" + " 0.9 0.9" * 3
    assert shown(open_data(small(train=row, yaml=NAMES + "kpt_shape: [3, 2]")).train) == [("a", "cat", 15, 10, 30, 20)]
    assert shown(open_data(small(train=row)).train) != [("a", "cat", 15, 10, 30, 20)]


def test_label_files_of_other_encodings_lose_rows_not_images(small, tmp_path):
    data = small()
    (tmp_path / "labels/train/a.txt").write_bytes("\ufeff".encode() + ROW.encode() + b"\xff\xfe\x00 1 2 3 4\n")
    splits = open_data(data)
    assert shown(splits.train) == [("a", "dog", *BOX)]
    assert "rows that are not numbers, dropped: 1" in splits.notes[0]


def test_images_without_labels_are_background_and_counted(small, tmp_path):
    images(tmp_path, "images/train/c.png", "images/train/d.png")
    texts(tmp_path, {"labels/train/c.txt": ""})
    splits = open_data(small())
    assert (len(splits.train), splits.train.starts.tolist()) == (3, [0, 1, 1, 1])
    assert len(splits.notes) == 1
    assert "images without a label file, taken as background: 1 (" in splits.notes[0] and "d.png" in splits.notes[0]
    for file in tmp_path.glob("labels/train/*.txt"):
        file.unlink()
    with pytest.raises(
        UserError, match=r"none of the 3 images .* has a label file: .*a\.png should have .*labels.train.a\.txt"
    ):
        open_data(Data(root=str(tmp_path)))


def test_splits_that_are_not_there(tmp_path):
    images(tmp_path, "images/a.png")
    texts(tmp_path, {"labels/a.txt": ROW, "data.yaml": NAMES})
    with pytest.raises(
        UserError, match=r"which images are for train: move them .*data\.train_images=FOLDER, or data\.train_list="
    ):
        open_data(Data(root=str(tmp_path)))
    (tmp_path / "images/train").mkdir()
    with pytest.raises(UserError, match="holds no images"):
        open_data(Data(root=str(tmp_path)))
    (tmp_path / "images/train2").mkdir()
    with pytest.raises(
        UserError, match=r"several folders of train images: images/train, images/train2; write data\.train_images"
    ):
        open_data(Data(root=str(tmp_path)))
    with pytest.raises(UserError, match="there is no folder"):
        open_data(Data(root=str(tmp_path), train_images="nowhere"))
    with pytest.raises(UserError, match="there is no list"):
        open_data(Data(root=str(tmp_path), train_list="nowhere.txt"))


def test_a_detector_knows_classes_by_name(small):
    val, notes = open_val(small(), ("dog", "bird", "cat"))
    assert (val.labels.tolist(), val.names, notes) == ([0], ("dog", "bird", "cat"), [])
    with pytest.raises(UserError, match="'dog', which the detector lacks"):
        open_val(small(), ("cat",))


def test_a_limit_reads_only_the_first_images(small, tmp_path):
    images(tmp_path, "images/train/c.png")
    (tmp_path / "images/train/z.png").write_bytes(b"no image")
    assert len(open_data(small(limit=2)).train) == 2
    with pytest.raises(UserError, match=r"z\.png cannot be read .*replace it, or remove it"):
        open_data(small())


@pytest.mark.parametrize(("orientation", "size"), [(1, (20, 60)), (6, (60, 20)), (3, (20, 60))])
def test_labels_are_of_the_picture_as_it_is_shown(small, tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = small()
    (tmp_path / "images/train/a.png").unlink()
    Image.fromarray(np.zeros((20, 60, 3), np.uint8)).save(tmp_path / "images/train/a.jpg", exif=exif)
    splits = open_data(data)
    assert splits.train.size(0) == size
    assert splits.notes == [] and splits.train.upright


@pytest.mark.parametrize(("orientation", "size"), [(1, (20, 60)), (3, (20, 60)), (6, (60, 20)), (8, (60, 20))])
def test_tiff_files_are_turned_once(small, tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = small()
    (tmp_path / "images/train/a.png").unlink()
    Image.fromarray(np.zeros((20, 60, 3), np.uint8)).save(tmp_path / "images/train/a.tif", exif=exif)
    sample = EvalDataset(open_data(data).train, data)[0]
    assert sample.size == size


@pytest.mark.parametrize("side", [20, 60])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("cache", [None, "disk"])
def test_pixels_are_turned_like_the_boxes(small, tmp_path, orientation, side, cache):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = small(train="0 0.25 0.25 0.5 0.5\n", size=64, cache=cache)
    stored = np.zeros((60, side, 3), np.uint8)
    stored[30 * (orientation in (3, 4, 7, 8)) :, :][:30, side // 2 * (orientation in (2, 3, 6, 7)) :][:, : side // 2] = 200
    if orientation in (6, 8):  # what is shown top left is stored bottom left and top right
        stored = np.ascontiguousarray(stored[::-1, ::-1])
    (tmp_path / "images/train/a.png").unlink()
    Image.fromarray(stored).save(tmp_path / "images/train/a.png", exif=exif)
    annotations = open_data(data).train
    plain = EvalDataset(annotations, data)[0]
    images = Images(annotations, data, (1, 1))
    images.fill()
    kept = annotations.sample(0, images.get(0, 1))
    for sample in (plain, kept):
        left, top, right, bottom = sample.boxes[0].round().astype(int)
        assert (sample.image[top + 2 : bottom - 2, left + 2 : right - 2] > 150).all()


shares = st.floats(-3, 3) | st.sampled_from([math.nan, math.inf, -math.inf])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(-1, 3), st.lists(shares, min_size=3, max_size=9)), max_size=6))
def test_whatever_a_file_holds_boxes_are_inside_and_every_row_is_accounted_for(small, rows):
    text = ROW + "\n".join(f"{label} " + " ".join(map(repr, row)) for label, row in rows)
    splits = open_data(small(train=text))
    boxes = splits.train.boxes
    assert len(splits.train) == 1 and np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()
    assert (boxes[:, :2] >= -0.01).all() and (boxes[:, :2] + boxes[:, 2:] <= np.array([60, 40]) + 0.02).all()
    dropped = sum(int(note.split("dropped: ")[1].split()[0]) for note in splits.notes if "dropped: " in note)
    assert len(boxes) + dropped == 1 + len(rows)


def test_labels_that_cannot_be_read_are_a_sentence(small, tmp_path):
    data = small()
    (tmp_path / "labels/train/a.txt").unlink()
    (tmp_path / "labels/train/a.txt").mkdir()
    with pytest.raises(UserError, match=r"the labels .*a\.txt cannot be read \(Is a directory\)"):
        open_data(data)


def test_descriptions_and_lists_that_may_not_be_read_are_a_sentence(small, tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    data = small()
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match=r"data\.yaml cannot be read \(Permission denied\)"):
        open_data(data)
    with pytest.raises(UserError, match=r"data\.yaml cannot be read \(Permission denied\)"):
        read_list(tmp_path / "data.yaml")
