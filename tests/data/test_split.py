"""Dealing images to new splits: exact, seeded, by group, each class in proportion."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.data.dealing import deal, sizes_of
from detkit.data.layout import open_data
from detkit.data.spec import Data
from detkit.data.split import groups_by_field, groups_by_name, read_all, split, write_splits
from detkit.errors import UserError

from .conftest import make_folder
from .folders import images, texts


@pytest.mark.parametrize(
    ("wanted", "images", "expected"),
    [
        ((None, "0.2"), 10, [8, 2]),
        (("0.8", "0.1", "0.1"), 10, [8, 1, 1]),
        (("0.8", "0.1", "0.1"), 205, [164, 21, 20]),
        ((None, "3", "0.5"), 10, [2, 3, 5]),
        (("7", "3"), 10, [7, 3]),
    ],
)
def test_shares(wanted, images, expected):
    assert sizes_of(wanted, images).tolist() == expected


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ((None, "1.5"), "'1.5' is no share of 10 images; write a fraction such as 0.1"),
        ((None, "half"), "'half' is no share"),
        ((None, "-1"), "'-1' is no share"),
        ((None, "11"), "'11' is no share"),
        (("0.5", "0.2"), "0.5, 0.2 of 10 images make 7, not 10; leave --train out to give it the rest"),
        ((None, "0.6", "0.6"), "make 12, not 10"),
    ],
)
def test_shares_that_make_no_sense(wanted, message):
    with pytest.raises(UserError, match=message):
        sizes_of(wanted, 10)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 5), st.integers(1, 4), st.integers(0, 9))
def test_each_image_is_dealt_and_shares_are_exact(count, classes, splits, seed):
    rng = np.random.default_rng(seed)
    sizes = np.bincount(rng.integers(0, splits, count), minlength=splits)
    boxes = rng.poisson(0.5, (count, classes))
    dealt = deal(np.arange(count), boxes, sizes, seed)
    assert np.bincount(dealt, minlength=splits).tolist() == sizes.tolist()
    assert (deal(np.arange(count), boxes, sizes, seed) == dealt).all()


def test_classes_are_in_proportion_where_chance_would_not_have_it():
    rng = np.random.default_rng(0)
    boxes = np.stack([rng.poisson(3, 400), rng.random(400) < 0.05, rng.poisson(0.4, 400)], axis=1)
    sizes = np.array([320, 80])

    def worst(boxes_for, seed):
        dealt = deal(np.arange(400), boxes_for, sizes, seed)
        return np.abs(boxes[dealt == 1].sum(0) / boxes.sum(0) - 0.2).max()

    assert max(worst(boxes, seed) for seed in range(5)) < 0.02
    assert np.mean([worst(boxes[:, :0], seed) for seed in range(5)]) > 0.04


def test_another_seed_deals_otherwise():
    boxes = np.zeros((50, 0), np.int64)
    assert (deal(np.arange(50), boxes, np.array([25, 25]), 0) != deal(np.arange(50), boxes, np.array([25, 25]), 1)).any()


def test_groups_stay_together_and_sizes_are_nearly_kept():
    groups = np.repeat(np.arange(30), np.random.default_rng(0).integers(1, 12, 30))
    dealt = deal(groups, np.ones((len(groups), 1), np.int64), sizes_of((None, "0.2"), len(groups)), 0)
    assert all(len(set(dealt[groups == group])) == 1 for group in range(30))
    assert abs((dealt == 1).mean() - 0.2) < 0.03


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "data", count=10, val=4)


def test_a_dealt_data_set_is_one_that_readers_take(root, tmp_path):
    pool = read_all(Data(root=str(root)))
    assert len(pool.annotations) == 10, "validation images that are training images count once"
    made = split(pool, {"train": None, "val": "3", "test": "0.2"}, seed=4)
    write_splits(made, tmp_path / "new")
    splits = open_data(Data(root=str(tmp_path / "new")))
    test = json.loads((tmp_path / "new/annotations/instances_test.json").read_text())
    assert (len(splits.train), len(splits.val), len(test["images"])) == (5, 3, 2)
    whole = open_data(Data(root=str(root))).train
    boxes_of = {i: whole.corners(row).tolist() for row, i in enumerate(whole.image_ids.tolist())}
    for part in (splits.train, splits.val):
        for row, image_id in enumerate(part.image_ids.tolist()):
            assert part.corners(row).tolist() == boxes_of[image_id]
    assert sorted(path.name for path in (tmp_path / "new").rglob("*") if path.is_file()) == [
        "instances_test.json",
        "instances_train.json",
        "instances_val.json",
    ]
    assert not [note for note in splits.notes if "without annotation" in note]
    with pytest.raises(UserError, match=r"instances_train\.json exists, and is not overwritten"):
        write_splits(made, tmp_path / "new")


def test_a_set_with_training_images_alone(root):
    (root / "annotations" / "instances_val.json").unlink()
    pool = read_all(Data(root=str(root)))
    assert len(pool.annotations) == 10
    assert pool.notes[0].startswith("only the training images are dealt: ")


def test_ids_that_clash_are_made_anew(tmp_path):
    row = "0 0.5 0.5 0.2 0.2\n"
    for name in ("train/a", "train/b", "val/c"):
        images(tmp_path, f"images/{name}.png")
        texts(tmp_path, {f"labels/{name}.txt": row, "classes.txt": "cat\n"})
    whole = read_all(Data(root=str(tmp_path))).annotations
    assert whole.image_ids.tolist() == [1, 2, 3]
    assert [path.rpartition("/")[2] for path in whole.paths] == ["a.png", "b.png", "c.png"]
    assert whole.starts.tolist() == [0, 1, 2, 3]


def test_groups_by_name(root):
    pool = read_all(Data(root=str(root)))
    assert groups_by_name(pool, r"\.png$").tolist() == [0] * 10
    assert groups_by_name(pool, r"^(\d)").tolist() == list(range(10))
    with pytest.raises(UserError, match=r"--group \^7 finds nothing in 0\.png; every image must be of a group"):
        groups_by_name(pool, "^7")
    with pytest.raises(UserError, match=r"--group \(: no regular expression"):
        groups_by_name(pool, "(")


def test_groups_by_field(root):
    file = root / "annotations" / "instances_train.json"
    content = json.loads(file.read_text())
    for number, image in enumerate(content["images"]):
        image["video"] = f"v{number // 4}"
    file.write_text(json.dumps(content))
    pool = read_all(Data(root=str(root)), ["train"])
    groups = groups_by_field(pool, "video")
    assert groups.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    made = split(pool, {"train": "0.8", "val": "0.2"}, groups=groups)
    assert {name: len(part) for name, part in made.items()} == {"train": 8, "val": 2}
    with pytest.raises(UserError, match="an image has no such field; it has file_name, height, video, width"):
        groups_by_field(pool, "patient")
    with pytest.raises(UserError, match="no image is left for test: there are 10 in 1 groups"):
        split(pool, {"train": None, "test": "0.2"}, groups=np.zeros(10, np.int64))
