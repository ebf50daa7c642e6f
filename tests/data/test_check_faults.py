"""Each kind of fault, planted once, is found by name, file and line; a clean set has none."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from detkit.data.check.boxes import notes_before_training
from detkit.data.check.examine import check
from detkit.data.check.findings import Effect
from detkit.data.files import CACHE_FOLDER
from detkit.data.layout import open_data
from detkit.data.spec import Data
from detkit.errors import UserError

from .conftest import coco, write_image
from .folders import SIZE, texts, voc


def scene(seed, size=SIZE):
    """A picture like no other: large patches of any grey."""
    grey = np.random.default_rng(seed).integers(0, 256, (5, 6), dtype=np.uint8)
    return np.kron(grey, np.ones((8, 10), np.uint8))[: size[0], : size[1], None].repeat(3, 2)


@pytest.fixture
def planted(tmp_path, write_json):
    """Write three training and two validation images, and annotations that are edited before: ``planted(train=edit)``."""

    def make(train=lambda content: None, val=lambda content: None, suffix="png"):
        for split, edit, count in (("train", train, 3), ("val", val, 2)):
            names = [f"{split}{number}.{suffix}" for number in range(count)]
            for number, name in enumerate(names):
                write_image(tmp_path / "images" / name, scene(10 * len(split) + number))
            boxes = [(number + 1, 1 + number % 2, (4 + number, 4, 20, 10)) for number in range(count)]
            content = coco([(number + 1, name, SIZE) for number, name in enumerate(names)], boxes)
            edit(content)
            write_json(tmp_path / "annotations" / f"instances_{split}.json", content)
        return Data(root=str(tmp_path))

    return make


def found(data, **options):
    return {(finding.what, finding.split): finding for finding in check(data, **options).findings}


def only(data, what, split="train"):
    [(key, finding)] = found(data).items()
    assert key == (what, split)
    return finding


def test_a_clean_set_has_no_findings(planted):
    data = planted()
    checked = check(data)
    assert checked.findings == [] and not checked.fails
    assert [len(part) for part in checked.splits.values()] == [3, 2]
    assert check(data, workers=2).findings == []


def box(**fields):
    def edit(content):
        content["annotations"][1].update(fields)

    return edit


@pytest.mark.parametrize(
    ("fields", "what", "effect"),
    [
        ({"bbox": [50, 20, 30, 10]}, "boxes reaching out of their image, clipped", Effect.MENDED),
        ({"bbox": [70, 20, 30, 10]}, "boxes outside their image, dropped", Effect.CHANGES),
        ({"bbox": [5, 20, 0, 10]}, "boxes without width or height, dropped", Effect.CHANGES),
        ({"bbox": [5, 20, 10, -3]}, "boxes without width or height, dropped", Effect.CHANGES),
        ({"bbox": [5, float("nan"), 10, 10]}, "boxes that are not four finite numbers, dropped", Effect.CHANGES),
        ({"bbox": [5, 5]}, "boxes that are not four finite numbers, dropped", Effect.CHANGES),
        ({"category_id": 77}, "boxes of a category that the file does not list, dropped", Effect.CHANGES),
        ({"image_id": 77}, "boxes of an image that the file does not list, dropped", Effect.CHANGES),
    ],
)
def test_boxes(planted, fields, what, effect):
    data = planted(train=box(**fields))
    findings = found(data)
    finding = findings[what, "train"]
    assert (finding.effect, finding.count) == (effect, 1)
    assert finding.places == (f"annotation 2 of image {fields.get('image_id', 2)}",)
    assert len(finding.exhibits) == ("image_id" not in fields)
    assert set(findings) - {(what, "train")} <= {("classes without a box", "train")}
    assert any(what in note for note in open_data(data).notes), "as runs tell"


def test_boxes_that_are_written_twice(planted):
    def twice(content):
        content["annotations"].append(content["annotations"][0] | {"id": 9})

    finding = only(planted(val=twice), "boxes that are written twice", "val")
    assert (finding.count, finding.places, finding.effect) == (1, ("annotation 9 of image 1",), Effect.CHANGES)


def test_ids_that_several_have(planted):
    def number(content):
        content["annotations"][1]["id"] = 1
        content["images"][2]["id"] = 1

    data = planted(train=number)
    findings = found(data)
    where = f"{data.root}/annotations/instances_train.json"
    assert findings["annotation ids that several boxes have", "train"].places == (f"{where}, annotation id 1",)
    images = findings["image ids that several images have", "train"]
    assert images.places == (f"{where}, image id 1",) and images.effect is Effect.REFUSED
    with pytest.raises(UserError) as refusal:
        open_data(data)
    assert images.remedy == str(refusal.value)


def test_a_file_that_is_listed_twice(planted):
    def twice(content):
        content["images"][2]["file_name"] = "train0.png"

    finding = found(planted(train=twice))["images that are listed twice", "train"]
    assert finding.count == 1 and finding.places[0].endswith("train0.png as image 1 is")


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_images(planted, tmp_path, split):
    data = planted()
    path = tmp_path / "images" / f"{split}1.png"
    path.unlink()
    findings = found(data)
    finding = findings["images that are missing", split]
    assert (finding.places, finding.effect) == ((str(path),), Effect.REFUSED)
    with pytest.raises(UserError) as refusal:
        open_data(data)
    assert finding.remedy == str(refusal.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_images(planted, tmp_path, suffix):
    data = planted(suffix=suffix)
    path = tmp_path / "images" / f"train1.{suffix}"
    path.write_bytes(path.read_bytes()[:-40])
    finding = found(data)["images that cannot be read", "train"]
    assert (finding.places, finding.effect) == ((str(path),), Effect.REFUSED)
    with pytest.raises(UserError) as refusal:
        open_data(data)
    assert finding.remedy == str(refusal.value)


def test_images_that_are_damaged_inside_pass_before_a_run_but_not_here(planted, tmp_path):
    data = planted(suffix="bmp")
    path = tmp_path / "images" / "val1.bmp"
    path.write_bytes(path.read_bytes()[:3000])
    open_data(data)
    finding = found(data)["images that are damaged inside", "val"]
    assert (finding.places, finding.effect) == ((str(path),), Effect.CHANGES)


def zeros(data, middle):
    return data[:middle] + bytes(64) + data[middle + 64 :]


def cut_and_ended(data, middle):
    return data[:middle] + b"\xff\xd9"


def hole(data, middle):
    return data[:middle] + data[middle + 100 :]


def another_marker(data, middle):
    return data[:middle] + b"\xff\xd3" + data[middle + 2 :]


@pytest.mark.parametrize("damage", [zeros, cut_and_ended, hole, another_marker])
def test_jpegs_that_are_shown_though_damaged(planted, tmp_path, damage, capfd):
    data = planted(suffix="jpg")
    path = tmp_path / "images" / "val1.jpg"
    whole = path.read_bytes()
    path.write_bytes(damage(whole, len(whole) - 300))
    assert open_data(data).notes == [], "header and end are those of a whole one"
    [finding] = check(data).findings
    assert (finding.what, finding.split, finding.effect) == ("images that are shown though damaged", "val", Effect.CHANGES)
    assert finding.places[0].startswith(f"{path} (Corrupt JPEG data: ")
    assert capfd.readouterr().err == ""
    assert str(path) in notes_before_training(open_data(data))[0], "as runs tell from then on"


def test_images_of_another_size(planted):
    def resize(content):
        content["images"][1]["width"] += 7

    data = planted(train=resize)
    finding = found(data)["images of another size than annotated", "train"]
    assert finding.places[0].endswith("train1.png") and finding.effect is Effect.REFUSED
    with pytest.raises(UserError) as refusal:
        open_data(data)
    assert finding.remedy == str(refusal.value)


def test_a_png_that_is_called_jpg(planted, tmp_path):
    data = planted(suffix="jpg")
    path = tmp_path / "images" / "train1.jpg"
    Image.fromarray(scene(99)).save(path, "PNG")
    finding = only(data, "images whose suffix is another format's")
    assert (finding.places, finding.effect) == ((f"{path} is PNG",), Effect.NOTED)
    open_data(data)


@pytest.mark.parametrize("suffix", ["jfif", "WEBP", "tif"])
def test_a_suffix_may_be_rare_as_long_as_it_is_right(planted, tmp_path, suffix):
    def convert(content):
        path = tmp_path / "images" / content["images"][1]["file_name"]
        Image.open(path).save(path.with_suffix(f".{suffix}"))
        path.unlink()
        content["images"][1]["file_name"] = f"{path.stem}.{suffix}"

    assert found(planted(train=convert)) == {}


def test_a_category_that_training_does_not_know(planted):
    def rename(content):
        content["categories"][1]["name"] = "bird"

    data = planted(val=rename)
    findings = found(data)
    finding = findings["categories that training does not know", "val"]
    assert finding.places == (f"{data.root}/annotations/instances_val.json, category 'bird'",)
    with pytest.raises(UserError) as refusal:
        open_data(data)
    assert finding.remedy == str(refusal.value)


def test_files_that_no_annotation_tells_of(planted, tmp_path):
    data = planted()
    write_image(tmp_path / "images" / "stray.png", scene(77))
    finding = only(data, "image files that no annotation tells of")
    assert (finding.places, finding.effect) == ((str(tmp_path / "images" / "stray.png"),), Effect.NOTED)


@pytest.mark.parametrize(
    ("copy", "what"),
    [
        (lambda path: None, "validation images that are copies of training images"),
        (
            lambda path: Image.fromarray(np.clip(scene(50) * 0.9 + 9, 0, 255).astype(np.uint8)).save(path),
            "validation images that are nearly the same as training images",
        ),
    ],
)
def test_pictures_in_both_splits(planted, tmp_path, copy, what):
    data = planted()
    train, val = tmp_path / "images" / "train0.png", tmp_path / "images" / "val1.png"
    shutil.copy(train, val)
    copy(val)
    finding = only(data, what, "val")
    assert (finding.places, finding.effect) == ((f"{val} and {train}",), Effect.CHANGES)


def test_files_in_both_splits_and_copies_within_one(planted, tmp_path):
    def same(content):
        content["images"][0]["file_name"] = "train0.png"

    data = planted(val=same)
    shutil.copy(tmp_path / "images" / "train1.png", tmp_path / "images" / "train2.png")
    findings = found(data)
    train = tmp_path / "images" / "train0.png"
    assert findings["validation images that are training images", "val"].places == (f"{train} and {train}",)
    assert findings["images that are copies of another one", "train"].effect is Effect.NOTED


def test_a_split_that_cannot_be_read_does_not_hide_the_other(planted, tmp_path):
    data = planted(train=box(bbox=[5, 20, 0, 10]))
    (tmp_path / "annotations" / "instances_val.json").write_text("{")
    findings = found(data)
    assert "is no JSON" in findings["annotations that cannot be used", "val"].remedy
    assert ("boxes without width or height, dropped", "train") in findings


def test_nothing_to_learn(planted):
    finding = found(planted(train=lambda content: content.update(annotations=[])))["splits without a usable box", "train"]
    assert finding.effect is Effect.REFUSED


def test_yolo_rows_are_found_by_line(tmp_path):
    for split, seed in (("train", 1), ("val", 2)):
        write_image(tmp_path / "images" / split / "a.png", scene(seed))
    write_image(tmp_path / "images" / "train" / "b.png", scene(3))
    (tmp_path / "images" / "train" / "b.png").write_bytes(b"no picture")
    good = "0 0.5 0.5 0.2 0.2\n"
    files = {"classes.txt": "cat\n", "labels/train/a.txt": good + "\n7 0.5 0.5 0.2 0.2\n0 0.5 x\n", "labels/val/a.txt": good}
    texts(tmp_path, files | {"labels/train/lost.txt": good})
    findings = found(Data(root=str(tmp_path)))
    lost = findings["label files without an image, left out", "train"]
    assert lost.places == (str(tmp_path / "labels" / "train" / "lost.txt"),) and lost.effect is Effect.CHANGES
    file = tmp_path / "labels" / "train" / "a.txt"
    assert findings["rows of a class that is none of the 1 named ones, dropped", "train"].places == (f"{file}, line 3",)
    assert findings["rows that are not numbers, dropped", "train"].places == (f"{file}, line 4",)
    unreadable = findings["images that cannot be read", "train"]
    assert unreadable.places == (str(tmp_path / "images" / "train" / "b.png"),) and unreadable.effect is Effect.REFUSED


def test_voc_objects_are_found_by_number(tmp_path):
    texts(
        tmp_path,
        {
            "train/a.xml": voc([("cat", 1, 2, 30, 20), ("cat", 9, 9, 9, 20)]),
            "train/b.xml": "<annotation>",
            "valid/c.xml": voc([("cat", 1, 2, 30, 20)]),
            "train.txt": "a\nb\nnone\n",
        },
    )
    for number, name in enumerate(("train/a", "train/b", "valid/c")):
        write_image(tmp_path / f"{name}.png", scene(number))
    findings = found(Data(root=str(tmp_path), train_list="train.txt"))
    listed = findings["images listed, but without an XML file", "train"]
    assert listed.places == (f"{tmp_path / 'train' / 'none.xml'}",) and listed.remedy.startswith("annotate them")
    dropped = findings["boxes without width or height, dropped", "train"]
    assert dropped.places == (f"{tmp_path / 'train' / 'a.xml'}, object 2",)
    assert findings["annotation files that cannot be read", "train"].places == (str(tmp_path / "train" / "b.xml"),)


def test_the_look_is_remembered_until_a_file_changes(planted, tmp_path, monkeypatch):
    from detkit.data.check import looks

    data = planted()
    assert found(data) == {}
    assert len(list((tmp_path / "images" / CACHE_FOLDER).glob("looks-*.npz"))) == 2
    decoded = []
    original = looks.load_image
    monkeypatch.setattr(looks, "load_image", lambda path, upright: decoded.append(path) or original(path, upright))
    assert found(data) == {} and decoded == []
    write_image(tmp_path / "images" / "val0.png", scene(123))
    assert found(data) == {} and len(decoded) == 2, "the split of the changed file"


@pytest.mark.slow
def test_photographs(shared_data, tmp_path):
    for name in ("bccd", "coco128"):
        (tmp_path / name / "images").mkdir(parents=True)
        shutil.copytree(shared_data / name / "annotations", tmp_path / name / "annotations")
        for path in (shared_data / name / "images").iterdir():
            (tmp_path / name / "images" / path.name).symlink_to(path)
    [twins] = check(Data(root=str(tmp_path / "bccd"))).findings
    assert twins.what == "validation images that are nearly the same as training images" and twins.count == 1
    assert "BloodImage_00037" in twins.places[0] and "BloodImage_00038" in twins.places[0], "two shots of one field of view"
    same = Data(root=str(tmp_path / "coco128"), val_annotations="annotations/instances_train2017.json")
    findings = found(same)
    assert findings["validation images that are training images", "val"].count == 128
    assert {key[0] for key in findings} == {"validation images that are training images", "classes without a box"}
    assert json.loads((tmp_path / "coco128/annotations/instances_train2017.json").read_text())["images"]
