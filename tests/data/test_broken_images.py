"""Images that break after the check: left out, remembered by name, and replaced the same way every time."""

import numpy as np
import pytest
import torch

from detkit.data.augment import Augment
from detkit.data.dataset import TrainDataset, without
from detkit.data.layout import open_data
from detkit.data.loader import MOST_TOLD, EvalLoader, TrainLoader
from detkit.data.spec import Data

from .conftest import make_folder, picture, write_image
from .test_loader import all_equal, equal


@pytest.fixture
def splits(tmp_path):
    return open_data(Data(root=str(make_folder(tmp_path, count=8, val=5))))


def train_loader(splits, workers=0):
    return TrainLoader(splits.train, Data(size=96, workers=workers), Augment(), batch=3, epochs=6)


def cut(path):
    path.write_bytes(path.read_bytes()[:60])


def resize(path):
    write_image(path, picture((31, 33), {}))


BREAKAGES = pytest.mark.parametrize("breaking", [cut, resize, lambda path: path.unlink()], ids=["cut", "other size", "deleted"])


def test_the_next_whole_image_of_the_order_takes_the_place():
    order = np.array([4, 2, 0, 3, 1])
    assert without(order, []).tolist() == [4, 2, 0, 3, 1]
    assert without(order, [2]).tolist() == [4, 0, 0, 3, 1]
    assert without(order, [0, 2]).tolist() == [4, 3, 3, 3, 1]
    assert without(order, [1, 3]).tolist() == [4, 2, 0, 4, 4]


@BREAKAGES
@pytest.mark.parametrize("workers", [0, 2])
def test_training_goes_on_without_it(splits, tmp_path, workers, breaking, caplog):
    path = tmp_path / "images" / "2.png"
    breaking(path)
    made = train_loader(splits, workers)
    batches = list(made)
    made.close()
    assert [len(batch.images) for batch in batches] == [3, 3, 3]
    assert list(made.unreadable) == [str(path)]
    assert str(path) in made.unreadable[str(path)]
    [warning] = caplog.records
    assert str(path) in warning.message and warning.message.endswith("another one takes its place")
    labels = {int(label) for batch in batches for _, found in batch.targets.per_image() for label in found}
    assert labels and not labels & {4, 5}, "no box of the broken image is left"
    again = train_loader(splits, 2 - workers)
    assert all_equal(list(again), batches)
    again.close()


def test_samples_without_it_stay_as_they_are(splits, tmp_path):
    plain = Augment(mosaic=0)
    whole = TrainDataset(splits.train, Data(size=96), plain, epochs=6, seed=0)
    samples = [whole[(0, position)] for position in range(8)]
    cut(tmp_path / "images" / "2.png")
    less = TrainDataset(splits.train, Data(size=96), plain, epochs=6, seed=0)
    [place] = np.flatnonzero(less.order(0) == 2)
    for position, sample in enumerate(samples):
        same = np.array_equal(less[(0, position)].image, sample.image)
        assert same == (position != place)
    following = int(less.order(0)[(place + 1) % 8])
    assert less[(0, int(place))].image_id == splits.train.image_ids[following]


def test_a_run_that_goes_on_in_mid_epoch_shows_the_same(splits, tmp_path):
    cut(tmp_path / "images" / "5.png")
    whole = list(train_loader(splits))
    first = train_loader(splits)
    start = iter(first)
    next(start)
    second = train_loader(splits)
    second.load_state_dict(first.state_dict())
    second.set_epoch(0)
    assert all_equal(list(second), whole[1:])


@BREAKAGES
@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_leaves_it_out(splits, tmp_path, workers, breaking, caplog):
    data = Data(size=96, workers=workers)
    before = list(EvalLoader(splits.val, data, batch=2))
    path = tmp_path / "images" / "2.png"
    breaking(path)
    made = EvalLoader(splits.val, data, batch=2)
    batches = list(made)
    assert torch.cat([batch.scored for batch in batches]).tolist() == [True, True, False, True, True]
    assert batches[1].targets.counts.tolist()[0] == 0
    assert equal(batches[0], before[0]) and equal(batches[2], before[2])
    assert list(made.unreadable) == [str(path)]
    assert [record.message.endswith("it is not scored") for record in caplog.records] == [True]
    assert all_equal(list(made), batches) and len(caplog.records) == 1, "told once"
    write_image(path, picture(splits.val.size(2), {}))
    assert all(batch.scored.all() for batch in made), "a file that is back counts again"
    made.close()


def test_many_are_remembered_but_not_all_told(tmp_path, caplog):
    splits = open_data(Data(root=str(make_folder(tmp_path, count=14, val=14))))
    for number in range(12):
        cut(tmp_path / "images" / f"{number}.png")
    made = EvalLoader(splits.val, Data(size=32, workers=0), batch=4)
    assert sum(int(batch.scored.sum()) for batch in made) == 2
    assert len(made.unreadable) == 12
    assert len(caplog.records) == MOST_TOLD + 1
