"""Telling whether two images show the same, all pairs at once."""

import cv2
import numpy as np
import pytest

from detkit.data.check import similar
from detkit.data.check.looks import look_at
from detkit.data.check.similar import identical, near, repeated

from .conftest import write_image
from .test_check_faults import scene


def smooth(seed):
    """A picture of 120 x 160 with coarse and fine structure."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
    return np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8)


def looks_of(folder, pictures):
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(str(folder / f"{number}.png"))
        write_image(folder / f"{number}.png", picture)
    return look_at(paths, "train", 0)


def darker(picture):
    return (picture * 0.8).astype(np.uint8)


def compressed(picture):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)


def smaller(picture):
    return cv2.resize(picture, (90, 66), interpolation=cv2.INTER_AREA)


def blurred(picture):
    return cv2.GaussianBlur(picture, (5, 5), 0)


@pytest.mark.parametrize("change", [darker, compressed, smaller, blurred])
def test_a_changed_copy_is_found_and_nothing_else(tmp_path, change):
    one = looks_of(tmp_path / "one", [smooth(seed) for seed in range(12)])
    other = looks_of(tmp_path / "other", [change(smooth(seed)) for seed in range(8, 20)])
    assert near(one, other).tolist() == [-1] * 8 + [0, 1, 2, 3]


@pytest.mark.parametrize("room", [1, 40, 2**20])
def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch, room):
    one = looks_of(tmp_path / "one", [smooth(seed) for seed in range(7)])
    monkeypatch.setattr(similar, "ROOM", room)
    monkeypatch.setattr(similar, "THUMBS", room)
    assert near(one, one).tolist() == list(range(7))


def test_the_nearest_of_several_is_named(tmp_path):
    one = looks_of(tmp_path / "one", [smooth(0)])
    other = looks_of(tmp_path / "other", [blurred(smooth(0)), smooth(0), darker(compressed(smooth(0)))])
    assert near(one, other).tolist() == [1]


def test_plain_pictures_are_alike_by_their_grey_alone(tmp_path):
    greys = [np.full((40, 40, 3), grey, np.uint8) for grey in (0, 120, 121, 255)]
    one = looks_of(tmp_path / "one", greys)
    assert near(one, looks_of(tmp_path / "other", greys[:1] + greys[3:])).tolist() == [0, -1, -1, 1]
    (tmp_path / "broken.png").write_bytes(b"")
    broken = look_at([str(tmp_path / "broken.png")], "train", 0)
    assert near(broken, one).tolist() == [-1] and near(one, broken).tolist() == [-1] * 4


def test_bytes_that_are_equal(tmp_path):
    looks = looks_of(tmp_path, [scene(1), scene(2), scene(1), scene(1)])
    assert repeated(looks.digests).tolist() == [-1, -1, 0, 0]
    assert identical(looks.digests[1:3], looks.digests).tolist() == [1, 0]
