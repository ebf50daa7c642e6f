"""What the reader finds, mends and refuses."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detkit.data import headers
from detkit.data.layout import open_data, open_val
from detkit.data.spec import Data
from detkit.errors import UserError

from .conftest import coco, picture, write_image


@pytest.fixture
def small(tmp_path, write_json):
    """A function that writes a two-image data set with these files (path -> content or None) and returns its Data."""

    def make(files, images=("images/a.png", "images/b.png"), **fields):
        for name in images:
            write_image(tmp_path / name, picture((40, 60), {}))
        for name, content in files.items():
            write_json(tmp_path / name, content)
        return Data(root=str(tmp_path), **fields)

    return make


def two(boxes=((1, 1, (5, 5, 10, 10)),), names=("a.png", "b.png"), **kwargs):
    return coco([(i + 1, name, (40, 60)) for i, name in enumerate(names)], boxes, **kwargs)


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        (("annotations/instances_train2017.json", "annotations/instances_val2017.json"), ("train2017", "val2017")),
        (
            ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
            ("images/train2017", "images/val2017"),
        ),
        (("annotations/instances_train.json", "annotations/instances_val.json"), ("images", "images")),
        (("annotations/instances_train.json", "annotations/instances_val.json"), (".", ".")),
        (("train/_annotations.coco.json", "valid/_annotations.coco.json"), ("train", "valid")),
    ],
)
def test_known_layouts(small, annotations, images):
    data = small(dict.fromkeys(annotations, two()), [f"{folder}/{name}" for folder in images for name in ("a.png", "b.png")])
    splits = open_data(data)
    assert (len(splits.train), len(splits.val), splits.names) == (2, 2, ("cat", "dog"))
    assert splits.val.sample(0, np.zeros((40, 60, 3), np.uint8)).boxes.tolist() == [[5, 5, 15, 15]]


def test_named_field_by_field(small):
    files = {"x/t.json": two(), "y/v.json": two()}
    names = {"train_annotations": "x/t.json", "val_annotations": "y/v.json", "train_images": "p", "val_images": "q"}
    data = small(files, ["p/a.png", "p/b.png", "q/a.png", "q/b.png"], **names)
    assert open_data(data).val.paths[1].endswith("q/b.png")


def test_the_training_file_may_be_named_for_validation(small):
    files = {"annotations/instances_train2017.json": two()}
    with pytest.raises(UserError, match=r"none for validation; write data\.val_annotations"):
        open_data(small(files))
    splits = open_data(small(files, val_annotations="annotations/instances_train2017.json"))
    assert splits.val.to_coco() == splits.train.to_coco()


def test_classes_are_known_by_name(small):
    train = two([(1, 7, (0, 0, 9, 9)), (2, 90, (0, 0, 9, 9)), (2, 0, (0, 0, 9, 9))], categories=[(90, "c"), (0, "a"), (7, "b")])
    val = two([(1, 3, (0, 0, 9, 9)), (1, 5, (0, 0, 8, 9))], categories=[(5, "c"), (3, "b")])
    splits = open_data(small({"annotations/instances_train.json": train, "annotations/instances_val.json": val}))
    assert splits.names == ("a", "b", "c")
    assert splits.train.labels.tolist() == [1, 2, 0]
    assert splits.val.labels.tolist() == [1, 2]
    written = splits.val.to_coco()
    assert [a["category_id"] for a in written["annotations"]] == [3, 5]
    by_name = {c["name"]: c["id"] for c in written["categories"]}
    assert (by_name["b"], by_name["c"]) == (3, 5)
    assert len(set(by_name.values())) == 3


def test_a_category_of_val_unknown_to_train_is_refused(small):
    val = two(categories=[(1, "cat"), (4, "zebra")])
    data = small({"annotations/instances_train.json": two(), "annotations/instances_val.json": val})
    with pytest.raises(UserError, match=r"'zebra', which .*instances_train\.json lacks .*cat, dog"):
        open_data(data)


def test_a_detectors_own_classes_open_val_alone(small):
    data = small({"annotations/instances_val.json": two()})
    val, notes = open_val(data, ("dog", "bird", "cat"))
    assert (val.labels.tolist(), val.names, notes) == ([2], ("dog", "bird", "cat"), [])
    with pytest.raises(UserError, match="'dog', which the detector lacks"):
        open_val(data, ("cat",))


def test_roboflows_parent_category_is_no_class(small):
    content = two([(1, 1, (0, 0, 9, 9))])
    content["categories"] = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": "pets"},
        {"id": 2, "name": "dog", "supercategory": "pets"},
    ]
    files = dict.fromkeys(("train/_annotations.coco.json", "valid/_annotations.coco.json"), content)
    splits = open_data(small(files, ["train/a.png", "train/b.png", "valid/a.png", "valid/b.png"]))
    assert splits.names == ("cat", "dog")


def test_crowds_are_evaluated_but_not_trained_on(small):
    content = two([(1, 1, (0, 0, 20, 20)), (1, 2, (5, 5, 10, 10))])
    content["annotations"][0] |= {"iscrowd": 1, "area": 123.5}
    splits = open_data(small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content)))
    sample = splits.train.sample(0, np.zeros((40, 60, 3), np.uint8))
    assert (sample.boxes.tolist(), sample.labels.tolist()) == ([[5, 5, 15, 15]], [1])
    assert [(a["iscrowd"], a["area"]) for a in splits.val.to_coco()["annotations"]] == [(1, 123.5), (0, 100)]


def test_boxes_are_mended_and_counted_images_stay(small):
    nan = float("nan")
    boxes = [
        (1, 1, (5.25, 5, 10, 10)),
        (1, 1, (50, -5, 20, 20)),
        (1, 1, (-1e-3, 30, 10, 10.005)),
        (2, 1, (1, 1, 0, 5)),
        (2, 1, (1, 1, 5, -2)),
        (2, 1, (nan, 1, 5, 5)),
        (2, 1, (70, 10, 5, 5)),
        (3, 1, (1, 1, 5, 5)),
        (1, 9, (1, 1, 5, 5)),
        (1, 1, (5, 5, 5, 5)),
    ]
    content = two(boxes)
    content["annotations"][-1]["bbox"] = [1, "x", 3]
    data = small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content))
    splits = open_data(data)
    assert len(splits.train) == 2
    assert splits.train.starts.tolist() == [0, 3, 3]
    assert splits.train.boxes.tolist() == [[5.25, 5, 10, 10], [50, 0, 10, 15], [-1e-3, 30, 10, 10.005]]
    assert splits.train.areas[1] == 150
    notes = [note for note in splits.notes if "instances_train" in note]
    assert len(splits.notes) == 2 * len(notes)
    text = "\n".join(notes)
    for phrase in (
        "of an image that the file does not list, dropped: 1 (annotation 8 of image 3",
        "of a category that the file does not list, dropped: 1 (annotation 9 of image 1",
        "that are not four finite numbers, dropped: 2 (annotation 6 of image 2, for example)",
        "without width or height, dropped: 2 (annotation 4 of image 2",
        "outside their image, dropped: 1 (annotation 7 of image 2",
        "reaching out of their image, clipped: 1 (annotation 2 of image 1",
    ):
        assert phrase in text
    assert len(notes) == 6


def test_a_limit_keeps_the_first_images_and_blames_no_box(small):
    content = two([(2, 1, (0, 0, 9, 9)), (1, 2, (0, 0, 9, 9))])
    files = dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content)
    splits = open_data(small(files, limit=1))
    assert (splits.train.image_ids.tolist(), splits.train.labels.tolist(), splits.notes) == ([1], [1], [])


def test_images_without_size_are_asked(small):
    content = two()
    for image in content["images"]:
        del image["width"]
    splits = open_data(small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content)))
    assert splits.train.size(1) == (40, 60)


def test_annotation_ids_that_pycocotools_misreads_are_replaced(small):
    content = two([(1, 1, (0, 0, 9, 9)), (2, 1, (0, 0, 9, 9))])
    for number, annotation in enumerate(content["annotations"]):
        annotation["id"] = number  # from 0
    splits = open_data(small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content)))
    assert [a["id"] for a in splits.val.to_coco()["annotations"]] == [1, 2]


def ids_as(kind, content):
    for key, names in (("images", ["id"]), ("annotations", ["image_id", "category_id"]), ("categories", ["id"])):
        for entry in content[key]:
            entry.update({name: kind(entry[name]) for name in names})
    return content


@pytest.mark.parametrize("kind", [str, float])
def test_ids_may_be_written_as_texts_or_fractions(small, kind):
    content = ids_as(kind, two([(1, 1, (0, 0, 9, 9)), (2, 2, (0, 0, 9, 9))]))
    splits = open_data(small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content)))
    assert (splits.train.image_ids.tolist(), splits.train.labels.tolist(), splits.notes) == ([1, 2], [0, 1], [])


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"category_id": [1]}, r"of a category .* dropped: 1 \(annotation 2 of image 2"),
        ({"category_id": "cat"}, "of a category .* dropped: 1"),
        ({"image_id": [1]}, r"of an image .* dropped: 1 \(annotation 2 of image \[1\]"),
        ({"image_id": 2**64}, "of an image .* dropped: 1"),
        ({"image_id": 1.5}, "of an image .* dropped: 1"),
        ({"image_id": "9" * 5000}, "of an image .* dropped: 1"),
        ({"bbox": [0, 0, 10**400, 9]}, "not four finite numbers, dropped: 1"),
        ({"bbox": [0, 0, 1e300, 9]}, "not four finite numbers, dropped: 1"),
    ],
)
def test_odd_values_of_boxes_are_counted(small, change, phrase):
    content = two([(1, 1, (0, 0, 9, 9)), (2, 1, (0, 0, 9, 9))])
    content["annotations"][1].update(change)
    data = small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content))
    splits = open_data(data)
    assert len(splits.train.labels) == 1
    assert re.search(phrase, splits.notes[0])
    del content["annotations"][0]
    with pytest.raises(UserError, match=f"no usable box in its 2 images.*{phrase.split(' dropped')[0]}"):
        open_data(small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content)))


def test_odd_values_elsewhere_do_no_harm(small):
    content = two([(1, 1, (0, 0, 9, 9))])
    content["annotations"][0] |= {"id": 2**70, "area": 10**400}
    content["images"][0] |= {"width": 2**70}
    content["categories"][0] |= {"supercategory": ["a"]}
    splits = open_data(small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content)))
    assert splits.train.size(0) == (40, 60)
    assert [(a["id"], a["area"]) for a in splits.val.to_coco()["annotations"]] == [(1, 81)]


@pytest.mark.parametrize("key", ["images", "categories"])
@pytest.mark.parametrize("value", [[1], 2**64, "one", 1.5, None, "9" * 20])
def test_images_and_categories_need_whole_numbers(small, key, value):
    content = two()
    content[key][1]["id"] = value
    with pytest.raises(UserError, match=r"instances_train\.json: the (image|category) entry .*whole number"):
        open_data(small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content)))


BAD = {
    "no JSON": ("{ not json", "no JSON, or was cut short"),
    "cut short": (json.dumps(two())[:-20], "no JSON, or was cut short"),
    "binary": (b"\xff\xfe\x00\x81", "no JSON, or was cut short"),
    "deep": (b"[" * 100000, "no JSON, or was cut short"),
    "a long number": (b"1" * 10000, "no JSON, or was cut short"),
    "a list": ([], "it holds a list"),
    "no images": (two() | {"images": []}, "lists no images"),
    "no annotations": ({"images": [], "categories": []}, "no list 'annotations'"),
    "image without id": (two() | {"images": [{"file_name": "a.png"}]}, "needs a 'file_name'"),
    "ids twice": (two() | {"images": two()["images"][:1] * 2}, "two images have the id 1"),
    "names twice": (
        two() | {"categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]},
        "two categories have the name 'x'",
    ),
    "no categories": (two() | {"categories": []}, "lists no categories"),
    "no boxes": (two([]), "nothing to learn"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_annotation_files_are_a_sentence(small, case):
    content, sentence = BAD[case]
    data = small({"annotations/instances_train.json": two(), "annotations/instances_val.json": two()})
    raw = content if isinstance(content, bytes | str) else json.dumps(content)
    path = Path(str(data.root), "annotations", "instances_train.json")
    path.write_bytes(raw if isinstance(raw, bytes) else raw.encode())
    with pytest.raises(UserError, match=sentence) as error:
        open_data(data)
    assert "instances_train.json" in str(error.value)


def test_missing_images_are_found_before_training(small):
    content = two(names=("a.png", "gone.png"))
    with pytest.raises(UserError, match=r"1 of the 2 images .*gone\.png"):
        open_data(small({"annotations/instances_train.json": content, "annotations/instances_val.json": two()}))
    content = two(names=("gone.png", "lost.png"))
    with pytest.raises(UserError, match=r"gone\.png, which is in none of .*data\.train_images"):
        open_data(small({"annotations/instances_train.json": content, "annotations/instances_val.json": two()}))


def test_roots_that_hold_no_data_set(tmp_path, small):
    with pytest.raises(UserError, match="does not exist"):
        open_data(Data(root=str(tmp_path / "nowhere")))
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        open_data(Data(root=str(tmp_path / "file")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is empty"):
        open_data(Data(root=str(tmp_path / "empty")))
    with pytest.raises(UserError, match=r"no layout that is known.*_annotations\.coco\.json"):
        open_data(Data(root=str(tmp_path)))
    with pytest.raises(UserError, match="there is no file"):
        open_data(Data(root=str(tmp_path), train_annotations="x.json"))


def test_several_files_of_a_split_need_a_choice(small):
    names = ("train2014", "train2017", "val")
    data = small({f"annotations/instances_{name}.json": two() for name in names})
    with pytest.raises(UserError, match=r"several train files: .*2014.*2017.*data\.train_annotations=FILE"):
        open_data(data)


@pytest.mark.parametrize("said", ["", "  "])
def test_an_empty_root_is_not_the_drawn_objects(said):
    with pytest.raises(ValueError, match="is empty .*name the folder of a data set, or leave it out"):
        Data(root=said)
    assert Data().root is None


def test_shared_photographs(shared_data):
    bccd = open_data(Data(root=str(shared_data / "bccd")))
    assert (len(bccd.train), len(bccd.val), bccd.names) == (205, 87, ("RBC", "WBC", "Platelets"))
    assert (len(bccd.train.boxes), len(bccd.val.boxes)) == (2804, 1137)
    coco128 = Data(root=str(shared_data / "coco128"), val_annotations="annotations/instances_train2017.json")
    splits = open_data(coco128)
    assert (len(splits.names), len(splits.val), int(splits.val.crowds.sum())) == (80, 128, 10)
    original = json.loads((shared_data / "coco128/annotations/instances_train2017.json").read_text())
    mine = {a["id"]: a for a in splits.val.to_coco()["annotations"]}
    assert len(mine) == len(original["annotations"])
    for theirs in original["annotations"]:
        ours = mine[theirs["id"]]
        assert all(ours[key] == theirs[key] for key in ("image_id", "category_id", "bbox", "area", "iscrowd"))


def test_pycocotools_reads_what_is_written(rectangles):
    COCO = pytest.importorskip("pycocotools.coco").COCO
    splits = open_data(Data(root=str(rectangles)))
    ground_truth = COCO()
    ground_truth.dataset = splits.val.to_coco()
    ground_truth.createIndex()
    assert sorted(ground_truth.getImgIds()) == splits.val.image_ids.tolist()


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("split", ["train", "val"])
def test_bad_images_are_found_before_the_first_step(small, tmp_path, split, half):
    data = small(
        {f"annotations/instances_{name}.json": two(names=(f"{name}.png", "b.png")) for name in ("train", "val")},
        ("images/train.png", "images/val.png", "images/b.png"),
    )
    open_data(data)
    file = tmp_path / f"images/{split}.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2 if half else 12])
    with pytest.raises(UserError, match=rf"{split}\.png is cut short or in no format"):
        open_data(data)
    write_image(file, picture((40, 50), {}))
    with pytest.raises(UserError, match=rf"{split}\.png is 50x40 pixels, but annotated as 60x40"):
        open_data(data)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_bytes_after_the_end_of_an_image_do_no_harm(small, tmp_path, suffix):
    name = f"a.{suffix}"
    content = two(names=(name, name))
    data = small(
        dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content), (f"images/{name}",)
    )
    with (tmp_path / "images" / name).open("ab") as file:
        file.write(bytes(500))
    open_data(data)


@pytest.mark.parametrize(("orientation", "stored"), [(1, (40, 60)), (3, (40, 60)), (6, (40, 60)), (8, (60, 40))])
def test_images_annotated_as_stored_or_turned_are_both_right(small, tmp_path, orientation, stored):
    content = two(names=("a.jpg", "a.jpg"))
    data = small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), content))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((*stored, 3), np.uint8)).save(tmp_path / "images/a.jpg", exif=exif)
    assert open_data(data).train.size(0) == (40, 60)


def test_what_only_the_decoder_knows_is_right_too(small, tmp_path, monkeypatch):
    def unknown(path):
        raise UserError(path)

    data = small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), two()))
    monkeypatch.setattr(headers, "read_header", unknown)
    open_data(data)


def test_files_that_may_not_be_read_are_a_sentence(small, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    data = small(dict.fromkeys(("annotations/instances_train.json", "annotations/instances_val.json"), two()))
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"instances_train\.json cannot be read \(Permission denied\); check who may"):
        open_data(data)
