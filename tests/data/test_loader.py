"""Order, resumption, shares and errors of the loaders."""

import itertools
import json
import multiprocessing
import pickle
import time
from collections import Counter

import numpy as np
import pytest
import torch

from detkit.data.augment import Albumentation, Augment
from detkit.data.dataset import TrainDataset
from detkit.data.layout import open_data
from detkit.data.loader import EvalLoader, TrainLoader
from detkit.data.spec import Data
from detkit.errors import UserError
from detkit.structures import Batch, Geometry, Targets

from .conftest import make_folder


@pytest.fixture(scope="module")
def splits(rectangles):
    return open_data(Data(root=str(rectangles)))


def loader(splits, batch=5, workers=0, **fields):
    return TrainLoader(splits.train, Data(size=96, workers=workers), Augment(), batch=batch, epochs=6, **fields)


def equal(a: Batch, b: Batch) -> bool:
    def flat(batch):
        return [batch.images, *batch.targets[:3], *batch.geometry, batch.image_ids, batch.scored]

    return all(torch.equal(x, y) for x, y in zip(flat(a), flat(b), strict=True))


def all_equal(a, b) -> bool:
    return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))


def epochs_of(loader, count):
    made = []
    for epoch in range(count):
        loader.set_epoch(epoch)
        made.append(list(loader))
    return made


def test_batches_have_the_promised_form(splits):
    for batch in (next(iter(loader(splits))), next(iter(EvalLoader(splits.val, Data(size=(96, 128), workers=0), batch=2)))):
        assert isinstance(batch, Batch)
        assert isinstance(batch.targets, Targets)
        assert isinstance(batch.geometry, Geometry)
        assert (batch.images.dtype, batch.images.is_contiguous()) == (torch.uint8, True)
        size = len(batch.images)
        assert batch.images.shape[1] == 3
        assert batch.targets.boxes.shape[1] % 16 == 0
        assert (batch.targets.boxes.dtype, batch.targets.labels.dtype) == (torch.float32, torch.int64)
        assert batch.geometry.scale.shape == batch.geometry.offset.shape == batch.geometry.size.shape == (size, 2)
        assert (batch.geometry.size.dtype, batch.image_ids.dtype, batch.scored.dtype) == (torch.int64, torch.int64, torch.bool)


def test_planes_are_the_samples_channels(splits):
    made = loader(splits, batch=2)
    batch = next(iter(made))
    dataset = TrainDataset(splits.train, Data(size=96), Augment(), epochs=6, seed=0)
    for i in range(2):
        assert (batch.images[i].permute(1, 2, 0).numpy() == dataset[(0, i)].image).all()


def test_an_epoch_is_a_function_of_seed_and_epoch(splits):
    first, second = epochs_of(loader(splits), 2)
    again = loader(splits)
    again.set_epoch(1)
    assert all_equal(list(again), second)
    again.set_epoch(0)
    assert all_equal(list(again), first)
    again.set_epoch(0)
    assert all_equal(list(again), first)
    assert not all_equal(first, second)
    other = loader(splits, seed=1)
    assert not all_equal(list(other), first)
    assert all_equal(list(loader(splits)), first)


def test_without_set_epoch_one_epoch_follows_the_other(splits):
    made = loader(splits)
    assert all(all_equal(list(made), epoch) for epoch in epochs_of(loader(splits), 3))


def test_a_broken_off_epoch_starts_again(splits):
    made = loader(splits)
    next(iter(made))
    assert made.state_dict()["batches"] == 1
    assert all_equal(list(made), epochs_of(loader(splits), 1)[0])


def test_every_image_comes_every_epoch_and_batches_are_full(splits):
    dataset = TrainDataset(splits.train, Data(size=96), Augment(), epochs=6, seed=3)
    assert sorted(dataset.order(4)) == list(range(12))
    assert list(dataset.order(4)) != list(dataset.order(5))
    made = loader(splits, batch=5, seed=3)
    assert len(made) == 3
    batches = list(made)
    assert [len(batch.images) for batch in batches] == [5, 5, 5]
    counts = Counter(torch.cat([batch.image_ids for batch in batches]).tolist())
    assert set(counts) == set(splits.train.image_ids.tolist())
    assert sum(counts.values()) == 15
    first = dataset[(0, 0)]
    filled = dataset[(0, 12)]  # the same image once more, seen otherwise
    assert first.image_id == filled.image_id
    assert not np.array_equal(first.image, filled.image)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_set_smaller_than_a_batch_is_one_batch(splits, workers):
    made = loader(splits, batch=64, workers=workers)
    assert len(made) == 1
    batch = next(iter(made))
    assert sorted(batch.image_ids.tolist()) == splits.train.image_ids.tolist()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resumed_in_mid_epoch(splits, workers, stop):
    whole = epochs_of(loader(splits), 3)
    broken = loader(splits, workers=workers)
    broken.set_epoch(0)
    list(broken)
    broken.set_epoch(1)
    head = list(itertools.islice(broken, stop))
    assert all_equal(head, whole[1][:stop])
    state = broken.state_dict()
    assert state == {"epoch": 1, "batches": stop, "length": 3}
    resumed = loader(splits, workers=workers)
    resumed.load_state_dict(state)
    iter(resumed)  # Lightning asks for an iterator before it says which epoch it is
    if stop < 3:
        resumed.set_epoch(1)
        assert resumed.state_dict() == state
        assert all_equal(list(resumed), whole[1][stop:])
    resumed.set_epoch(2)
    assert all_equal(list(resumed), whole[2])


def test_a_finished_epoch_is_not_repeated(splits):
    whole = epochs_of(loader(splits), 2)
    made = loader(splits)
    list(made)
    resumed = loader(splits)
    resumed.load_state_dict(made.state_dict())
    assert all_equal(list(resumed), whole[1])


def test_workers_change_nothing_and_live_on(splits):
    parallel = loader(splits, workers=2)
    assert all(all_equal(a, b) for a, b in zip(epochs_of(parallel, 3), epochs_of(loader(splits), 3), strict=True))


def test_closing_ends_the_workers_at_once(splits):
    made = loader(splits, workers=2)
    before = set(multiprocessing.active_children())
    rest = iter(made)
    first = [next(rest)]
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    start = time.perf_counter()
    made.close()
    assert not any(worker.is_alive() for worker in started)
    assert time.perf_counter() - start < 3
    assert all_equal(list(made), epochs_of(loader(splits), 1)[0])
    assert equal(first[0], next(iter(loader(splits))))
    made.close()


def test_resuming_with_other_batches_is_refused_in_mid_epoch_only(splits):
    made = loader(splits)
    next(iter(made))
    with pytest.raises(UserError, match="stopped in mid-epoch with 3 batches an epoch, now there are 6"):
        loader(splits, batch=2).load_state_dict(made.state_dict())
    list(made)
    other = loader(splits, batch=2)
    other.load_state_dict(made.state_dict())
    other.set_epoch(1)
    assert len(list(other)) == 6


def test_loading_leaves_the_global_random_streams_alone(splits):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    list(loader(splits))
    list(EvalLoader(splits.val, Data(size=96, workers=0), batch=2))
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_an_epoch(splits, world):
    shares = [list(loader(splits, batch=2, rank=rank, world=world)) for rank in range(world)]
    whole = list(loader(splits, batch=2 * world))
    assert {len(share) for share in shares} == {len(whole)}
    for step, batch in enumerate(whole):
        together = torch.cat([share[step].images for share in shares])
        assert torch.equal(together, batch.images)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_mosaic_of_fewer_than_four_images(tmp_path, images):
    small = open_data(Data(root=str(make_folder(tmp_path, count=images, val=1))))
    assert next(iter(loader(small))).images.shape == (images, 3, 96, 96)


def test_few_images_for_many_processes(splits, tmp_path):
    small = open_data(Data(root=str(make_folder(tmp_path, count=3, val=1))))
    shares = [list(loader(small, batch=4, rank=rank, world=2)) for rank in range(2)]
    assert [[len(batch.images) for batch in share] for share in shares] == [[2], [2]]
    ids = {int(i) for share in shares for batch in share for i in batch.image_ids}
    assert ids == set(small.train.image_ids.tolist())


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("images", [1, 2, 5])
@pytest.mark.parametrize("batch", [1, 2, 16])
def test_evaluation_scores_every_image_once(splits, world, images, batch):
    data = Data(root=splits.val.paths[0].rsplit("/images", 1)[0], size=32, workers=0, limit=images)
    val = open_data(data).val
    scored, lengths = Counter(), set()
    for rank in range(world):
        made = EvalLoader(val, data, batch=batch, rank=rank, world=world)
        batches = list(made)
        assert len(batches) == len(made) >= 1
        lengths.add(tuple(len(b.images) for b in batches))
        for b in batches:
            scored.update(b.image_ids[b.scored].tolist())
    assert scored == Counter(val.image_ids.tolist())
    assert len(lengths) == 1


def test_evaluation_is_repeatable_and_maps_back(splits):
    made = EvalLoader(splits.val, Data(size=96, workers=2), batch=2)
    first, second = list(made), list(made)
    assert all_equal(first, second)
    assert all_equal(first, list(EvalLoader(splits.val, Data(size=96, workers=0), batch=2)))
    index = 0
    for batch in first:
        for i, (boxes, _) in enumerate(batch.targets.per_image()):
            expected = splits.val.sample(index, np.zeros((*splits.val.size(index), 3), np.uint8)).boxes
            np.testing.assert_allclose(batch.geometry.to_original(boxes, i).numpy(), expected, atol=1e-3)
            index += 1
    assert index == 5


@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_are_gone_altogether_end_the_run_with_a_sentence(tmp_path, workers):
    splits = open_data(Data(root=str(make_folder(tmp_path, count=4, val=2))))
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(
        UserError, match=r"^4 images in a row cannot be read; the last: the image .*\d\.png cannot be read \(No"
    ):
        list(loader(splits, workers=workers))


def test_images_without_boxes_are_batched(splits, tmp_path):
    root = make_folder(tmp_path, count=3, val=1)
    path = root / "annotations" / "instances_val.json"
    content = json.loads(path.read_text())
    content["annotations"] = []
    path.write_text(json.dumps(content))
    val = open_data(Data(root=str(root))).val
    batch = next(iter(EvalLoader(val, Data(size=96, workers=0), batch=2)))
    assert batch.targets.counts.tolist() == [0]
    assert batch.targets.boxes.shape == (1, 16, 4)


def test_memory_of_annotations_is_flat_arrays(splits):
    held = vars(splits.train)
    assert {type(value).__name__ for name, value in held.items() if name not in ("names", "upright")} == {"ndarray", "Texts"}
    assert {type(value) for value in vars(splits.train.paths).values()} == {np.ndarray}


def test_data_sets_can_be_sent_to_workers_that_are_not_forked(splits):
    dataset = TrainDataset(splits.train, Data(size=96), Augment(extra=(Albumentation(name="Affine"),)), epochs=6, seed=0)
    here = dataset[(0, 3)]
    there = pickle.loads(pickle.dumps(dataset))[(0, 3)]
    assert (here.image == there.image).all()
    assert (here.boxes == there.boxes).all()
