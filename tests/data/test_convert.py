"""Any format to any other: round trips, names that clash, and what is refused."""

import json
import os
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from detkit.data.convert import convert
from detkit.data.images import load_annotated
from detkit.data.layout import open_data
from detkit.data.spec import Data
from detkit.errors import UserError

from .conftest import coco, write_image
from .folders import SIZE, images, shown, texts, voc

FORMATS = ("coco", "yolo", "voc")


def samples(root, **fields):
    """Both splits as (name, pixels, boxes, class names, size), and the class names."""
    splits = open_data(Data(root=str(root), **fields))
    found = {}
    for split, part in (("train", splits.train), ("val", splits.val)):
        found[split] = []
        for index in range(len(part)):
            sample = part.sample(index, load_annotated(part.paths[index], part.size(index), 1, part.upright))
            names = [splits.names[label] for label in sample.labels]
            found[split].append((Path(part.paths[index]).name, sample.image, sample.boxes, names, sample.size))
    return found, splits.names


def assert_equal(one, other):
    assert one[1] == other[1]
    for split in ("train", "val"):
        assert len(one[0][split]) == len(other[0][split])
        for (name, image, boxes, labels, size), theirs in zip(one[0][split], other[0][split], strict=True):
            assert (name, labels, size) == (theirs[0], theirs[3], theirs[4])
            assert (image == theirs[1]).all()
            np.testing.assert_allclose(boxes, theirs[2], rtol=0, atol=1e-5)


@pytest.fixture
def source(tmp_path):
    """A COCO folder with fractions, gaps in ids, classes out of alphabetical order, an image without boxes, and tags."""

    def make(categories=((3, "zebra: 'no'"), (9, "été & <b>"), (20, "no"))):
        root = tmp_path / "source"
        size_of = {"a.png": (40, 60), "b c.png": (33, 71), "d.e.jpg": (64, 32), "v.png": (50, 50)}
        random = np.random.default_rng(0)
        for name, size in size_of.items():
            write_image(root / "images" / name, random.integers(0, 255, (*size, 3)).astype(np.uint8))
        boxes = [(1, 9, (1.25, 2.5, 10, 7.125)), (1, 3, (0, 0, 60, 40)), (3, 20, (1 / 3, 2 / 3, 30.123456, 60.7))]
        train = coco([(i, n, size_of[n]) for i, n in enumerate(("a.png", "b c.png", "d.e.jpg"), 1)], boxes, categories)
        val = coco([(4, "v.png", (50, 50))], [(4, 9, (10, 10, 5, 5))], categories)
        for split, content in (("train", train), ("val", val)):
            texts(root, {f"annotations/instances_{split}.json": json.dumps(content)})
        return root

    return make


@pytest.mark.parametrize(("first", "second"), product(FORMATS, FORMATS))
def test_round_trips_give_equal_samples(source, tmp_path, first, second):
    root = source()
    expected = samples(root)
    done = convert(Data(root=str(root)), tmp_path / "one", first)
    assert (done.images, done.boxes, done.notes) == ({"train": 3, "val": 1}, {"train": 3, "val": 1}, [])
    assert done.names == ("zebra: 'no'", "été & <b>", "no")
    assert_equal(samples(tmp_path / "one"), expected)
    again = convert(Data(root=str(tmp_path / "one")), tmp_path / "two", second)
    assert again.notes == []
    assert_equal(samples(tmp_path / "two"), expected)


def test_coco_keeps_its_ids(source, tmp_path):
    root = source()
    convert(Data(root=str(root)), tmp_path / "out", "coco")
    for split in ("train", "val"):
        name = f"annotations/instances_{split}.json"
        before, after = (json.loads((folder / name).read_text()) for folder in (root, tmp_path / "out"))
        assert before == after


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 1), *[st.floats(0, 1)] * 4), min_size=1, max_size=5),
    st.permutations(FORMATS),
)
def test_any_boxes_survive_a_chain_of_formats(tmp_path_factory, drawn, order):
    tmp_path = tmp_path_factory.mktemp("chain")
    boxes = [(1, k + 1, (x * 59, y * 39, 1e-3 + w * (59 - x * 59), 1e-3 + h * (39 - y * 39))) for k, x, y, w, h in drawn]
    images(tmp_path, "start/images/a.png", "start/images/b.png")
    for split, name in (("train", "a.png"), ("val", "b.png")):
        content = json.dumps(coco([(1, name, SIZE)], boxes))
        texts(tmp_path, {f"start/annotations/instances_{split}.json": content})
    expected = samples(tmp_path / "start")
    folder = tmp_path / "start"
    for to in order:
        out = tmp_path / to
        assert convert(Data(root=str(folder)), out, to).notes == []
        folder = out
    assert_equal(samples(folder), expected)


def test_an_image_in_both_splits_is_written_once_in_a_shared_folder(source, tmp_path):
    data = Data(root=str(source()), val_annotations="annotations/instances_train.json")
    assert convert(data, tmp_path / "out", "voc").notes == []
    assert len(list((tmp_path / "out/JPEGImages").iterdir())) == 3
    assert len(samples(tmp_path / "out")[0]["val"]) == 3


@pytest.mark.parametrize("to", FORMATS)
def test_names_that_clash_get_numbers(tmp_path, to):
    root = tmp_path / "source"
    names = ("x/1.png", "y/1.png", "y/1.bmp", "1_2.png")
    images(root, *(f"images/train/{name}" for name in names), "images/val/1.png")
    for number, name in enumerate([*(f"train/{name}" for name in names), "val/1.png"]):
        file = Path("labels", name).with_suffix(".txt").as_posix()
        texts(root, {file: f"0 0.5 0.5 0.5 0.{number + 1}\n"})
    texts(root, {"data.yaml": "names: [cat]"})
    before = samples(root)
    done = convert(Data(root=str(root)), tmp_path / "out", to)
    (note,) = done.notes
    assert f"images renamed, as their names clash: {3 if to == 'voc' else 2} (" in note
    after = samples(tmp_path / "out")
    for split in ("train", "val"):
        heights = [sorted(boxes[:, 3].tolist() for _, _, boxes, _, _ in part[0][split]) for part in (before, after)]
        assert heights[0] == heights[1]


def test_crowds_are_left_out_where_a_format_has_none(source, tmp_path):
    root = source()
    file = root / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["iscrowd"] = 1
    file.write_text(json.dumps(content))
    assert convert(Data(root=str(root)), tmp_path / "coco", "coco").boxes["train"] == 3
    assert open_data(Data(root=str(tmp_path / "coco"))).train.crowds.sum() == 1
    for to in ("yolo", "voc"):
        done = convert(Data(root=str(root)), tmp_path / to, to)
        assert done.boxes["train"] == 2 and done.notes == [f"train: crowds left out, as {to} has none: 1"]


@pytest.mark.parametrize(("suffix", "orientation"), [("jpg", 6), ("jpg", 3), ("png", 8)])
def test_boxes_of_stored_pixels_stay_so_in_yolo(tmp_path, suffix, orientation):
    root, exif = tmp_path / "source", Image.Exif()
    exif[0x0112] = orientation
    (root / "images").mkdir(parents=True)
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:20, :30] = 200
    Image.fromarray(stored).save(root / f"images/a.{suffix}", exif=exif)
    content = json.dumps(coco([(1, f"a.{suffix}", (40, 60))], [(1, 1, (0, 0, 30, 20))]))
    texts(root, {f"annotations/instances_{split}.json": content for split in ("train", "val")})
    done = convert(Data(root=str(root)), tmp_path / "out", "yolo")
    assert "written anew without orientation tag" in done.notes[0]
    (_, image, boxes, _, size) = samples(tmp_path / "out")[0]["train"][0]
    assert size == (40, 60) and np.allclose(boxes, [[0, 0, 30, 20]])
    before = load_annotated(str(root / f"images/a.{suffix}"), (40, 60))
    assert abs(image.astype(int) - before).max() <= 3
    assert not Image.open(next((tmp_path / "out/images/train").iterdir())).getexif()


@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
@pytest.mark.parametrize(("suffix", "orientation"), [("jpg", 6), ("jpg", 3), ("png", 2), ("webp", 8)])
def test_boxes_of_shown_pictures_stay_on_their_pixels(tmp_path, to, suffix, orientation):
    root, exif = tmp_path / "source", Image.Exif()
    exif[0x0112] = orientation
    (root / "images/train").mkdir(parents=True)
    stored = np.zeros((40, 40, 3), np.uint8)
    stored[:20, :20] = 200
    Image.fromarray(stored).save(root / f"images/train/a.{suffix}", exif=exif)
    corner = {2: "0.75 0.25", 3: "0.75 0.75", 6: "0.75 0.25", 8: "0.25 0.75"}[orientation]
    texts(root, {"labels/train/a.txt": f"0 {corner} 0.5 0.5\n", "data.yaml": "names: [cat]\nval: images/train"})
    done = convert(Data(root=str(root)), tmp_path / "out", to)
    assert [note for note in done.notes if "turned as their orientation tag says" in note or to == "yolo"] == done.notes
    for folder in (root, tmp_path / "out"):
        (_, image, [(left, top, right, bottom)], _, _) = samples(folder)[0]["train"][0]
        seen = image[..., 0] > 100
        assert seen[int(top) : int(bottom), int(left) : int(right)].all() and seen.sum() == 400


def test_what_only_coco_files_say_is_noted(source, tmp_path):
    root = source()
    file = root / "annotations/instances_train.json"
    content = json.loads(file.read_text())
    content["annotations"][0] |= {"segmentation": [[1, 2, 3, 4, 5, 6]], "keypoints": []}
    content["images"][0] |= {"license": 3}
    file.write_text(json.dumps(content))
    assert open_data(Data(root=str(root))).notes == []
    notes = convert(Data(root=str(root)), tmp_path / "out", "coco").notes
    assert [note.partition(": ")[2] for note in notes] == [
        "fields of images left out: license",
        "fields of annotations left out: segmentation",
    ]


def test_the_mark_of_difficult_objects_is_noted(tmp_path):
    images(tmp_path / "source", "train/a.png", "valid/b.png")
    xml = voc([("hard", 1, 1, 9, 9)])
    texts(tmp_path / "source", {"train/a.xml": xml, "valid/b.xml": xml})
    notes = convert(Data(root=str(tmp_path / "source")), tmp_path / "out", "voc").notes
    assert sum("lose the mark of being difficult" in note for note in notes) == 2


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a ", "a\x01"])
def test_names_that_voc_cannot_hold_are_refused(tmp_path, name):
    images(tmp_path / "source", "images/a.png")
    content = json.dumps(coco([(1, "a.png", SIZE)], [(1, 1, (0, 0, 9, 9))], [(1, name), (2, "dog")]))
    texts(tmp_path / "source", {f"annotations/instances_{split}.json": content for split in ("train", "val")})
    with pytest.raises(UserError, match="cannot be written in VOC's format"):
        convert(Data(root=str(tmp_path / "source")), tmp_path / "out", "voc")


def test_file_names_that_are_no_utf8_are_refused(tmp_path):
    root, name = tmp_path / "source", os.fsdecode(b"im\xe9")
    images(root, "images/train/a.png")
    (root / "images/train/a.png").rename(root / f"images/train/{name}.png")
    texts(root, {f"labels/train/{name}.txt": "0 0.5 0.5 0.5 0.5", "data.yaml": "names: [cat]\nval: images/train"})
    for to in ("coco", "voc"):
        with pytest.raises(UserError, match="is no text in UTF-8; rename the image file"):
            convert(Data(root=str(root)), tmp_path / "out", to)


def test_links(source, tmp_path):
    root = source()
    convert(Data(root=str(root)), tmp_path / "out", "voc", link=True)
    assert (tmp_path / "out/JPEGImages/a.png").samefile(root / "images/a.png")


def test_what_is_refused(source, tmp_path):
    root = source()
    with pytest.raises(UserError, match="is not an empty folder; name a new one"):
        convert(Data(root=str(root)), root, "yolo")
    with pytest.raises(UserError, match="is not an empty folder"):
        convert(Data(root=str(root)), root / "images/a.png", "yolo")
    with pytest.raises(UserError, match="cannot be written"):
        convert(Data(root=str(root)), root / "images/a.png/out", "yolo")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="does not exist"):
        convert(Data(root=str(tmp_path / "nowhere")), tmp_path / "out", "yolo")
    assert list((tmp_path / "out").iterdir()) == []
    convert(Data(root=str(root)), tmp_path / "out", "yolo")
    assert shown(open_data(Data(root=str(tmp_path / "out"))).val) == [("v", "été & <b>", 10, 10, 5, 5)]


def test_a_failure_leaves_nothing_behind(source, tmp_path):
    root = source()
    (root / "images/v.png").rename(root / "images/v.heic")
    file = root / "annotations/instances_val.json"
    file.write_text(file.read_text().replace("v.png", "v.heic"))
    with pytest.raises(UserError, match=r"v\.heic would not be found again by its suffix; rename it"):
        convert(Data(root=str(root)), tmp_path / "out", "yolo")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
