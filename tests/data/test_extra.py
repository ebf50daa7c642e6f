"""Albumentations: its transforms on our samples, and our transforms against its own."""

import os

import numpy as np
import pytest

from detkit.data.augment import Albumentation, Augment
from detkit.data.collage import join, one_tile, place, whole
from detkit.data.dataset import Address, TrainDataset
from detkit.data.extra import Extra
from detkit.data.layout import open_data
from detkit.data.pixels import flip
from detkit.data.resize import GREY, letterbox
from detkit.data.spec import Data
from detkit.errors import UserError
from detkit.overrides import override
from detkit.spec import from_dict, to_dict
from detkit.structures import Sample

from .conftest import extent, picture
from .test_transforms import check

BOXES = {0: (20, 30, 80, 70), 1: (100, 60, 150, 120), 2: (30, 90, 70, 118)}


@pytest.fixture
def sample():
    boxes = np.array(list(BOXES.values()), np.float32)
    return Sample(picture((128, 160), BOXES), boxes, np.arange(3), 1, (128, 160), fields={"colour": np.arange(3)})


@pytest.fixture(scope="module")
def library():
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    return pytest.importorskip("albumentations")


def transform(name, **arguments):
    return Extra([Albumentation(name=name, arguments={"p": 1} | arguments)])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("VerticalFlip", {}),
        ("Affine", {"scale": 0.8, "translate_px": 11}),
        ("Affine", {"translate_percent": 0.3}),
        ("RandomSizedBBoxSafeCrop", {"height": 128, "width": 160}),
    ],
)
def test_boxes_follow(sample, name, arguments):
    for seed in range(5):
        made = transform(name, **arguments)(sample, np.random.default_rng(seed))
        assert len(made.labels) > 0
        assert not np.array_equal(made.image, sample.image)
        check(made, slack=4)


def test_boxes_out_of_sight_are_dropped_with_their_labels(sample):
    made = transform("Affine", translate_px={"x": -90, "y": 0})(sample, np.random.default_rng(0))
    assert made.labels.tolist() == made.fields["colour"].tolist() == [1]


def test_images_without_boxes_pass(sample):
    made = transform("HorizontalFlip")(sample.select(np.zeros(3, bool)), np.random.default_rng(0))
    assert made.boxes.shape == (0, 4)


def test_whole_samples_are_functions_of_their_address(rectangles):
    train = open_data(Data(root=str(rectangles))).train
    augment = Augment(extra=(Albumentation(name="GaussNoise", arguments={"p": 0.5}), Albumentation(name="Affine")))
    made = [TrainDataset(train, Data(size=96), augment, epochs=4, seed=0) for _ in range(2)]
    forwards = [made[0][Address(1, i)] for i in range(6)]
    backwards = [made[1][Address(1, i)] for i in reversed(range(6))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert (a.image == b.image).all()
        assert (a.boxes == b.boxes).all()


def test_what_albumentations_lacks_is_a_sentence():
    with pytest.raises(UserError, match=r"no transform 'GausianBlur'; did you mean 'GaussianBlur'\?"):
        transform("GausianBlur")
    with pytest.raises(UserError, match="no transform 'Compose'"):
        transform("Compose")
    with pytest.raises(UserError, match=r"Affine has no argument 'sheer'; did you mean 'shear'\?"):
        transform("Affine", sheer=1)
    with pytest.raises(UserError, match="Affine does not take .*scale"):
        transform("Affine", scale="big")


def test_transforms_that_change_the_size_are_refused(sample):
    with pytest.raises(UserError, match=r"makes \(128, 160\) pictures \(64, 64\)"):
        transform("Resize", height=64, width=64)(sample, np.random.default_rng(0))


def test_chosen_from_the_command_line():
    text = "extra=Albumentation(name=Affine, arguments={'shear': 5})"
    augment = override(Augment(), [text])
    assert augment.extra == (Albumentation(name="Affine", arguments={"shear": 5}),)
    assert from_dict(Augment, to_dict(augment)) == augment


def test_our_letterbox_is_albumentations(sample, library):
    theirs = library.Compose(
        [library.LongestMaxSize(96), library.PadIfNeeded(96, 96, fill=GREY)], library.BboxParams("pascal_voc", ["label"])
    )(image=sample.image, bboxes=sample.boxes, label=sample.labels)
    ours = letterbox(sample, (96, 96))
    np.testing.assert_allclose(ours.boxes, theirs["bboxes"], atol=0.5)
    assert np.abs(ours.image.astype(int) - theirs["image"]).mean() < 2


def test_our_flip_is_albumentations(sample, library):
    theirs = library.Compose([library.HorizontalFlip(p=1)], library.BboxParams("pascal_voc", ["label"]))(
        image=sample.image, bboxes=sample.boxes, label=sample.labels
    )
    ours = flip(sample)
    assert (ours.image == theirs["image"]).all()
    np.testing.assert_allclose(ours.boxes, theirs["bboxes"], atol=1e-4)


@pytest.mark.parametrize(("zoom", "x", "y"), [(0.5, 0, 0), (1.4, 10, -7), (0.8, -20, 16)])
def test_our_zoom_and_shift_is_albumentations_affine(sample, library, zoom, x, y):
    theirs = library.Compose(
        [library.Affine(scale=zoom, translate_px={"x": x, "y": y}, fill=GREY, p=1)],
        library.BboxParams("pascal_voc", ["label"], clip=True, min_visibility=0.1),
    )(image=sample.image, bboxes=sample.boxes, label=sample.labels)
    canvas = np.full((128, 160, 3), GREY, np.uint8)
    tile = one_tile(whole((128, 160)), np.full(2, zoom), np.array([80 + x, 64 + y]), (128, 160))
    ours = join(canvas, [place(canvas, sample, tile, tile.seen((128, 160)))], 1)
    assert ours.labels.tolist() == theirs["label"].tolist()
    np.testing.assert_allclose(ours.boxes, theirs["bboxes"], atol=1.5)
    assert np.abs(ours.image.astype(int) - theirs["image"]).mean() < 6
    assert extent(ours.image, 0) is not None
