"""Tiles: every pixel is seen, boxes come back where they were, and one object is one detection."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detkit.deploy.found import Found
from detkit.deploy.predictor import Predictor
from detkit.deploy.sources import Frame
from detkit.deploy.tiles import TiledPredictor, Window, merge, windows
from tests.deploy.fakes import NAMES, BlobDetector, scene


def tiled(tiles=128, overlap=0.25, **options) -> TiledPredictor:
    return TiledPredictor(BlobDetector(), NAMES, (128, 128), device="cpu", tiles=tiles, overlap=overlap, **options)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(8, 200), st.floats(0, 0.95))
def test_tiles_cover_the_image_and_overlap_enough(height, width, side, overlap):
    tiles = windows(height, width, side, overlap)
    seen = np.zeros((height, width), bool)
    for tile in tiles:
        assert (tile.right - tile.left, tile.bottom - tile.top) == (min(side, width), min(side, height))
        assert min(tile) >= 0 and tile.right <= width and tile.bottom <= height
        seen[tile.top : tile.bottom, tile.left : tile.right] = True
    assert seen.all() and len(set(tiles)) == len(tiles)
    lefts = sorted({tile.left for tile in tiles})
    assert all(second - first <= max(1, side * (1 - overlap)) for first, second in pairwise(lefts))


def test_an_image_that_fits_in_one_tile_is_predicted_on_as_without_tiles():
    image = scene(100, 128, ("red", (10, 10, 50, 40)), ("green", (60, 50, 101, 90)), ("red", (15, 12, 30, 30)))
    plain = Predictor(BlobDetector(), NAMES, (128, 128), device="cpu")(image)
    subject = tiled()
    found = subject(image)
    assert subject.detector.batches == [1]
    assert torch.equal(found.boxes, plain.boxes) and torch.equal(found.scores, plain.scores)
    assert torch.equal(found.labels, plain.labels) and len(found) == 2


def test_small_large_and_cut_objects_are_each_found_once_and_exactly():
    objects = [
        ("red", (2, 2, 6, 6)),  # lost at a quarter of the size, were it not for the tiles
        ("green", (90, 90, 114, 114)),  # in the overlap of four tiles
        ("blue", (140, 20, 500, 60)),  # wider than any tile: cut in all of them
        ("red", (120, 300, 136, 340)),  # at the border of tiles, whole in one
        ("red", (200, 200, 210, 210)),
        ("green", (480, 480, 512, 512)),  # at the border of the image, which cuts nothing
    ]
    found = tiled(limit=300)(scene(512, 512, *objects))
    got = sorted((name, tuple(box)) for name, box in zip(found.class_names(), found.boxes.tolist(), strict=True))
    assert got == sorted((name, tuple(map(float, box))) for name, box in objects)
    assert (found.scores.diff() <= 0).all()


def test_classes_do_not_suppress_one_another():
    views = [Window(0, 0, 200, 100), Window(0, 0, 100, 100), Window(100, 0, 200, 100)]
    box = torch.tensor([[10.0, 10, 40, 40]])

    def one(label, score, boxes=box):
        return Found(boxes, torch.tensor([score]), torch.tensor([label]), NAMES)

    merged = merge([one(0, 0.5), one(1, 0.9), one(0, 0.7, box[:0].new_tensor([[1.0, 1, 9, 9]]))], views, 0.5, 10)
    assert merged.labels.tolist() == [1, 0, 0]
    assert merged.boxes.tolist() == [[10, 10, 40, 40], [101, 1, 109, 9], [10, 10, 40, 40]]
    assert len(merge([one(0, 0.5), one(0, 0.9), one(0, 0.7)], views, 0.5, 1)) == 1


def test_a_cut_piece_goes_although_it_scores_better_but_a_whole_small_object_stays():
    views = [Window(0, 0, 200, 100), Window(0, 0, 100, 100)]
    whole = Found(torch.tensor([[50.0, 10, 150, 60]]), torch.tensor([0.5]), torch.tensor([0]), NAMES)
    inside = torch.tensor([[50.0, 10, 99, 60], [60, 20, 80, 40]])  # cut at 100; whole, within the large one
    part = Found(inside, torch.tensor([0.9, 0.8]), torch.tensor([0, 0]), NAMES)
    merged = merge([whole, part], views, 0.5, 10)
    assert merged.boxes.tolist() == [[60, 20, 80, 40], [50, 10, 150, 60]]
    other = merge([whole, Found(inside, part.scores, torch.tensor([1, 1]), NAMES)], views, 0.5, 10)
    assert len(other) == 3, "another class"


def test_the_borders_of_the_image_cut_nothing():
    views = [Window(0, 0, 200, 100), Window(0, 0, 100, 100)]
    large = Found(torch.tensor([[0.0, 0, 150, 90]]), torch.tensor([0.9]), torch.tensor([0]), NAMES)
    small = Found(torch.tensor([[0.0, 0, 30, 30]]), torch.tensor([0.8]), torch.tensor([0]), NAMES)
    assert len(merge([large, small], views, 0.5, 10)) == 2


def test_tiles_go_in_batches_and_images_one_at_a_time():
    subject = tiled(batch=4)
    taken = []

    def frames():
        for number in range(3):
            taken.append(number)
            yield Frame("big", scene(256, 256))

    stream = subject.stream(frames())
    _, found = next(stream)
    assert taken == [0] and len(found) == 0
    assert subject.detector.batches == [4, 4, 2]  # nine tiles and the whole
    assert [len(item) for item in subject([scene(64, 64), scene(128, 128)])] == [0, 0]


@pytest.mark.parametrize(("height", "width"), [(40, 500), (500, 40), (130, 127)])
def test_long_images(height, width):
    objects = [("red", (2, 2, 12, 12)), ("green", (width - 12, height - 12, width - 2, height - 2))]
    found = tiled()(scene(height, width, *objects))
    assert sorted(found.class_names()) == ["green", "red"]
    for name, box in objects:
        ours = found.boxes[found.class_names().index(name)]
        assert (ours - torch.tensor(box)).abs().max() <= 1
