"""Boxes stay on what they mark: coloured rectangles are followed through every transform."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from detkit.data import cache
from detkit.data.augment import Augment
from detkit.data.collage import MIN_VISIBLE, base_scale, four_tiles, join, one_tile, place, whole
from detkit.data.dataset import Address, TrainDataset, _partners
from detkit.data.layout import open_data
from detkit.data.pixels import flip, shift_colour
from detkit.data.resize import GREY, fit, letterbox, stretch
from detkit.data.spec import Data
from detkit.data.workers import collate
from detkit.structures import Sample

from .conftest import COLOURS, extent, picture

SHAPE = (160, 192)
corner = st.integers(0, 60)
side = st.integers(8, 60)


@st.composite
def samples(draw, first=0):
    """A picture of two rectangles, one above the other, in colours ``first`` and ``first + 1``; labels are colours."""
    boxes = {}
    for row in range(2):
        left, top = draw(corner), draw(st.integers(0, 20)) + 90 * row
        boxes[first + row] = (left, top, left + draw(side), top + draw(side))
    size = (draw(st.integers(170, 260)), draw(st.integers(120, 300)))
    corners = np.array(list(boxes.values()), np.float32)
    fields = {"colour": np.array(list(boxes))}
    return Sample(picture(size, boxes), corners, np.array(list(boxes)), 7, size, fields=fields)


def check(sample, slack=2.5):
    """Every box is where its colour is seen, within the blur of resizing; labels and fields name that colour."""
    assert sample.boxes.dtype == np.float32
    assert sample.fields.get("colour", sample.labels).tolist() == sample.labels.tolist()
    for box, label in zip(sample.boxes, sample.labels, strict=True):
        seen = extent(sample.image, int(label))
        if seen is None:
            assert (box[2:] - box[:2]).min() < 2 * slack  # too thin to have a pixel of its own colour
        else:
            assert np.abs(box - seen).max() <= slack, (box, seen)
            assert (box[:2] >= 0).all()
            assert (box[2:] <= sample.image.shape[1::-1]).all()


@settings(deadline=None, max_examples=40)
@given(samples(), st.sampled_from(["letterbox", "stretch"]), st.sampled_from([SHAPE, (320, 224), (96, 96), (640, 32)]))
def test_fitting_moves_boxes_and_remembers_the_way_back(sample, resize, shape):
    fitted = fit(sample, shape, resize)
    assert fitted.image.shape == (*shape, 3)
    factors = np.array(fitted.scale)
    if factors.min() > 0.4:
        check(fitted, slack=1 + factors.max())
    geometry = collate([fitted]).geometry
    back = geometry.to_original(collate([fitted]).targets.boxes[0, :2], 0)
    np.testing.assert_allclose(back.numpy(), sample.boxes, atol=1e-3)


@pytest.mark.parametrize("shape", [(128, 160), (160, 416)])
def test_fitting_twice_remembers_the_whole_way_back(shape):
    boxes = np.array([[10, 20, 110, 90]], np.float32)
    sample = Sample(picture((100, 200), {}), boxes, np.zeros(1, int), 0, (100, 200))
    batch = collate([stretch(letterbox(sample, shape), (64, 96))])
    np.testing.assert_allclose(batch.geometry.to_original(batch.targets.boxes[0, :1], 0).numpy(), boxes, atol=1e-3)


@settings(deadline=None, max_examples=25)
@given(samples())
def test_flip(sample):
    flipped = flip(sample)
    check(flipped, slack=0)
    again = flip(flipped)
    assert (again.image == sample.image).all()
    assert (again.boxes == sample.boxes).all()


@settings(deadline=None, max_examples=60)
@given(samples(), st.floats(0.5, 1.9), st.floats(-0.3, 1.3), st.floats(-0.3, 1.3), st.sampled_from(["letterbox", "stretch"]))
def test_zoom_and_shift(sample, zoom, x, y, resize):
    canvas = np.full((*SHAPE, 3), GREY, np.uint8)
    scale = zoom * base_scale(sample.size, SHAPE, resize)
    tile = one_tile(whole(sample.size), scale, np.array([x * SHAPE[1], y * SHAPE[0]]), SHAPE)
    seen = tile.seen(sample.size)
    placed = [place(canvas, sample, tile, seen)] if seen is not None else []
    joined = join(canvas, placed, 7)
    check(joined, slack=1.5 + scale.max())
    for label in sample.labels:
        if label not in joined.labels:  # dropped: hardly seen
            shown = extent(canvas, int(label))
            box = sample.boxes[sample.labels == label][0]
            area = (box[2:] - box[:2]).prod() * scale.prod()
            assert shown is None or (shown[2:] - shown[:2]).prod() <= MIN_VISIBLE * area or (shown[2:] - shown[:2]).min() <= 2


@settings(deadline=None, max_examples=60)
@given(st.tuples(*(samples(first=2 * i) for i in range(4))), st.floats(0.5, 1.5), st.floats(-0.2, 1.2), st.floats(-0.2, 1.2))
def test_mosaic(four, zoom, x, y):
    canvas = np.full((*SHAPE, 3), GREY, np.uint8)
    scales = [zoom * base_scale(sample.size, SHAPE, "letterbox") for sample in four]
    tiles = four_tiles([sample.size for sample in four], scales, np.array([x * SHAPE[1], y * SHAPE[0]]), SHAPE)
    placed = [
        place(canvas, sample, tile, seen)
        for sample, tile in zip(four, tiles, strict=True)
        if (seen := tile.seen(sample.size)) is not None
    ]
    check(join(canvas, placed, 7), slack=1.5 + max(scale.max() for scale in scales))
    covered = np.zeros(SHAPE, int)
    for tile in tiles:
        left, top, right, bottom = tile.region
        covered[top:bottom, left:right] += 1
    assert (covered == 1).all()  # the quadrants share the input out


@functools.cache
def opened(root):
    return open_data(Data(root=str(root))).train


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    position=st.integers(0, 11),
    epoch=st.integers(0, 19),
    seed=st.integers(0, 2**31),
    resize=st.sampled_from(["letterbox", "stretch"]),
    size=st.sampled_from([64, 160, (160, 224)]),
)
@example(position=0, epoch=0, seed=0, resize="letterbox", size=(160, 224))
def test_whole_training_samples(rectangles, position, epoch, seed, resize, size):
    annotations, data = opened(rectangles), Data(size=size, resize=resize)
    plain = Augment(hue=0, saturation=0, value=0)
    sample = TrainDataset(annotations, data, plain, epochs=20, seed=seed)[Address(epoch, position)]
    assert sample.image.shape == (*data.shape, 3)
    assert len(sample.labels) <= (8 if epoch < 15 else 2)
    check(sample, slack=4.5)
    coloured = TrainDataset(annotations, data, Augment(), epochs=20, seed=seed)[Address(epoch, position)]
    assert (coloured.boxes == sample.boxes).all()
    assert (coloured.labels == sample.labels).all()


@pytest.mark.parametrize("mosaic", [True, False])
def test_every_kind_of_sample_shows_boxes(rectangles, mosaic):
    """Guards the property tests above: they would pass on empty pictures."""
    augment = Augment(hue=0, saturation=0, value=0, close_mosaic=0 if mosaic else 100)
    made = TrainDataset(opened(rectangles), Data(size=160), augment, epochs=20, seed=1)
    counts = [len(made[Address(19, position)].labels) for position in range(12)]
    assert sum(counts) > (40 if mosaic else 16)
    assert max(counts) > (4 if mosaic else 1)


def test_select_keeps_all_that_belongs_to_a_box():
    boxes = np.arange(12, dtype=np.float32).reshape(3, 4)
    sample = Sample(picture((20, 20), {}), boxes, np.array([4, 5, 6]), 1, (20, 20), fields={"mask": np.arange(3)})
    kept = sample.select(np.array([True, False, True]))
    assert (kept.labels.tolist(), kept.fields["mask"].tolist(), kept.boxes[:, 0].tolist()) == ([4, 6], [0, 2], [0, 8])


def test_letterbox_centres_and_pads_with_grey():
    sample = Sample(
        np.zeros((100, 200, 3), np.uint8), np.array([[0, 0, 200, 100]], np.float32), np.zeros(1, int), 0, (100, 200)
    )
    fitted = letterbox(sample, (160, 160))
    assert (fitted.boxes[0] == [0, 40, 160, 120]).all()
    assert (fitted.image[:40] == 114).all()
    assert (fitted.image[120:] == 114).all()
    assert not fitted.image[40:120].any()
    assert (stretch(sample, (160, 160)).boxes[0] == [0, 0, 160, 160]).all()


def test_an_image_of_the_input_size_is_not_resampled():
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    sample = Sample(noise, np.zeros((0, 4), np.float32), np.zeros(0, int), 0, (64, 96))
    assert (fit(sample, (64, 96)).image == noise).all()


def test_colour_factors():
    image = np.array([[COLOURS[0], (200, 100, 100), (60, 60, 60), (0, 0, 0)]], np.uint8)
    same = shift_colour(image.copy(), np.ones(3))
    assert np.abs(same.astype(int) - image).max() <= 4  # a hue has 256 steps
    darker = shift_colour(image.copy(), np.array([1, 1, 0.5]))
    assert np.abs(darker.astype(int) - image / 2).max() <= 4
    grey = shift_colour(image.copy(), np.array([1, 0, 1]))
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    assert np.abs(grey.max(2).astype(int) - image.max(2)).max() == 0
    bright = shift_colour(image.copy(), np.array([1, 1, 100]))
    assert bright[0, 1, 0] == 255  # saturates, does not wrap


def test_hue_goes_round_the_circle():
    magenta_red = np.array([[(255, 0, 20)]], np.uint8)  # hue near the end of the circle
    turned = shift_colour(magenta_red.copy(), np.array([1.04, 1, 1]))[0, 0].astype(int)
    assert turned[0] == 255
    assert turned[1] > turned[2]  # past red, towards yellow


def test_unseen_images_are_not_decoded(rectangles, monkeypatch):
    decoded = []
    original = cache.load_annotated
    monkeypatch.setattr(cache, "load_annotated", lambda *args: decoded.append(args[0]) or original(*args))
    monkeypatch.setattr(cache, "RECENT_BYTES", 0)
    made = TrainDataset(opened(rectangles), Data(size=64), Augment(), epochs=20, seed=0)
    for position in range(12):
        assert made[Address(0, position)].image.shape == (64, 64, 3)
    assert len(decoded) < 4 * 12


def test_samples_share_decoded_images(rectangles, monkeypatch):
    decoded = []
    original = cache.load_annotated
    monkeypatch.setattr(cache, "load_annotated", lambda *args: decoded.append(args[0]) or original(*args))
    made = TrainDataset(opened(rectangles), Data(size=320), Augment(), epochs=20, seed=0)
    shared = [made[Address(0, position)].image for position in range(12)]
    assert len(decoded) == len(set(decoded)) <= 12
    assert all(isinstance(image, np.ndarray) and image.flags.owndata for image in shared)
    fresh = TrainDataset(opened(rectangles), Data(size=320), Augment(), epochs=20, seed=0)
    for position in reversed(range(12)):  # whatever was made before
        assert (fresh[Address(0, position)].image == shared[position]).all()


def test_seed_epoch_and_position_each_change_a_sample(rectangles):
    train = opened(rectangles)
    alone = dataclasses.replace(train, image_ids=train.image_ids[:1])  # one image: the order is always the same

    def made(seed, epoch, position):
        return TrainDataset(alone, Data(size=96), Augment(), epochs=8, seed=seed)[Address(epoch, position)].image.tobytes()

    keys = [(seed, epoch, position) for seed in range(2) for epoch in range(2) for position in range(2)]
    assert len({made(*key) for key in keys}) == len(keys)


def test_partners_are_three_others_of_the_block():
    rng = np.random.default_rng(0)
    drawn = [_partners(position, 1000, rng, 3) for position in range(32, 48) for _ in range(50)]
    assert all(len(set(places)) == 3 and 32 <= min(places) <= max(places) < 48 for places in drawn)
    assert all(32 + i // 50 not in places for i, places in enumerate(drawn))
    assert {place for places in drawn for place in places} == set(range(32, 48))


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5, 12, 16, 17, 40])
def test_small_sets_have_partners_too(images):
    rng = np.random.default_rng(0)
    for position in range(3 * images):
        shown = [place % images for place in [position, *_partners(position, images, rng, 3)]]
        assert len(shown) == 4
        assert len(set(shown)) == 4 or images < 4


def test_mosaic_stays_on_for_most_of_a_short_run():
    assert [Augment().strong_epochs(epochs) for epochs in (1, 4, 12, 40, 100)] == [1, 3, 9, 30, 90]
    assert Augment(close_mosaic=0).strong_epochs(100) == 100
