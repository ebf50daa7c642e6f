"""Caches of decoded images: the same batches, room that is known before, nothing stale and nothing half written."""

import errno
import os
import pickle
import re
import shutil

import cv2
import numpy as np
import pytest

from detkit.data import cache, cache_plan, stores
from detkit.data.augment import Augment
from detkit.data.cache_plan import CachePlan
from detkit.data.dataset import Address, TrainDataset
from detkit.data.files import CACHE_FOLDER as FOLDER
from detkit.data.images import load_annotated
from detkit.data.layout import open_data
from detkit.data.loader import TrainLoader
from detkit.data.spec import Data
from detkit.data.views import zooms
from detkit.errors import UserError

from .conftest import make_folder
from .test_loader import all_equal, epochs_of

EVERYTHING = Augment(mosaic_tiles=9, mosaic=0.5, mixup=0.5, copy_paste=0.5, zoom_out=0.5, crop=0.5, degrees=10)
KINDS = pytest.mark.parametrize("kind", ["ram", "disk"])


@pytest.fixture
def root(tmp_path):
    """Noisy pictures of odd sizes."""
    folder = make_folder(tmp_path / "data", count=4, val=1)
    rng = np.random.default_rng(0)
    for number in range(4):
        path = folder / "images" / f"{number}.png"
        height, width = cv2.imread(str(path)).shape[:2]
        cv2.imwrite(
            str(path), np.kron(rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)), np.ones((8, 8, 1)))[:height, :width]
        )
    return folder


def opened(root):
    return open_data(Data(root=str(root))).train


def loader(root, kind, augment=None, size=64, workers=0):
    data = Data(root=str(root), size=size, workers=workers, cache=kind)
    return TrainLoader(opened(root), data, augment or Augment(), batch=2, epochs=8)


def caches(root):
    return sorted(path for path in (root / "images" / FOLDER).glob("[!.]*") if path.is_dir())


@KINDS
@pytest.mark.parametrize("augment", [Augment(), EVERYTHING], ids=["yolo", "everything"])
@pytest.mark.parametrize("size", [32, 64, 320])
def test_batches_are_the_same(root, kind, augment, size, monkeypatch):
    plain = epochs_of(loader(root, None, augment, size), 2)
    cached = loader(root, kind, augment, size)
    next(iter(cached))
    monkeypatch.setattr(cache, "load_annotated", lambda *_: pytest.fail("decoded although cached"))
    assert all(all_equal(a, b) for a, b in zip(epochs_of(cached, 2), plain, strict=True))


@KINDS
def test_workers_share_it(root, kind):
    plain, cached = loader(root, None), loader(root, kind, workers=2)
    assert all(all_equal(a, b) for a, b in zip(epochs_of(cached, 2), epochs_of(plain, 2), strict=True))
    cached.close()


@KINDS
def test_workers_that_are_not_forked_have_it_too(root, kind):
    dataset = TrainDataset(opened(root), Data(size=64, cache=kind), Augment(), epochs=8, seed=0)
    dataset.images.fill()
    here = dataset[Address(0, 1)]
    sent = pickle.dumps(dataset)
    assert (pickle.loads(sent)[Address(0, 1)].image == here.image).all()
    assert (here.image == TrainDataset(opened(root), Data(size=64), Augment(), epochs=8, seed=0)[Address(0, 1)].image).all()
    if kind == "disk":
        assert len(sent) < 20_000  # the path, not the pixels


@KINDS
def test_what_it_takes_is_said_before(root, kind):
    made = loader(root, kind)
    assert re.match(rf"data.cache={kind}: 4 decoded training images take 0\.\d MB of (shared memory|disk)", made.note)
    assert not (root / "images" / FOLDER).exists()
    assert loader(root, None).note is None


def test_the_plan_holds_no_more_than_is_read(root):
    annotations = opened(root)
    for size, augment in [(64, Augment()), (320, Augment()), (32, Augment(crop=1, zoom_out=1))]:
        plan = CachePlan.of(annotations, Data(size=size), zooms(augment))
        for index in range(len(annotations)):
            fits = size / max(annotations.size(index))
            least, largest = (fits * zoom for zoom in zooms(augment))
            kept = [reduction for reduction in (1, 2, 4, 8) if plan.entry(index, reduction) is not None]
            assert kept == [r for r in (1, 2, 4, 8) if (r == 1 or r * least <= 1) and (r == 8 or 2 * r * largest > 1)]
            for reduction in kept:
                number = plan.entry(index, reduction)
                image = load_annotated(annotations.paths[index], annotations.size(index), reduction)
                assert (plan.decode(annotations, number) == image).all()
                assert image.nbytes <= plan.starts[number + 1] - plan.starts[number]
    assert (
        CachePlan.of(annotations, Data(size=32), (0.5, 1)).size < CachePlan.of(annotations, Data(size=320), (0.5, 1)).size / 8
    )


def test_a_second_run_finds_the_first_ones(root, monkeypatch):
    next(iter(loader(root, "disk")))
    [folder] = caches(root)
    assert sorted(path.name for path in folder.iterdir()) == ["pixels", "shapes.npy"]
    monkeypatch.setattr(cache_plan, "load_annotated", lambda *_: pytest.fail("decoded again"))
    next(iter(loader(root, "disk")))
    assert caches(root) == [folder]


def test_nothing_stale_is_used(root):
    next(iter(loader(root, "disk")))
    path = root / "images" / "0.png"
    image = cv2.imread(str(path))
    cv2.imwrite(str(path), 255 - image)
    changed = loader(root, "disk")
    assert all_equal(list(changed), list(loader(root, None)))
    assert len(caches(root)) == 2
    stamp = path.stat()
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    next(iter(loader(root, "disk")))
    assert len(caches(root)) == 3
    next(iter(loader(root, "disk", size=320)))
    assert len(caches(root)) == 4


def test_a_full_disk_is_a_sentence_and_leaves_nothing(root, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stores.os, "pwrite", full)
    with pytest.raises(UserError, match=r"data.cache=disk: .* cannot be written to .*: No space left on device; make room"):
        next(iter(loader(root, "disk")))
    assert [path.name for path in (root / "images" / FOLDER).iterdir()] == ["lock"]


def test_a_disk_without_room_is_not_begun_with(root, monkeypatch):
    monkeypatch.setattr(stores.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**6, 10**6, 100))
    monkeypatch.setattr(cache_plan, "load_annotated", lambda *_: pytest.fail("decoded for nothing"))
    with pytest.raises(UserError, match="No space left on device"):
        next(iter(loader(root, "disk")))


def test_a_folder_that_cannot_be_written_is_a_sentence(root):
    (root / "images" / FOLDER).write_text("in the way")
    with pytest.raises(UserError, match=r"data.cache=disk: .* cannot be written"):
        next(iter(loader(root, "disk")))


def test_too_little_memory_is_a_sentence(root, monkeypatch):
    monkeypatch.setattr(stores, "_free_memory", lambda: 1000)
    with pytest.raises(
        UserError, match=r"data.cache=ram needs 0\.\d MB of shared memory, and 0\.0 MB are free; write data.cache=disk"
    ):
        next(iter(loader(root, "ram")))


@KINDS
def test_a_broken_image_is_left_out_as_without_a_cache(root, kind):
    annotations = opened(root)
    path = root / "images" / "2.png"
    path.write_bytes(path.read_bytes()[:60])

    def first(kind):
        made = TrainLoader(annotations, Data(size=64, workers=0, cache=kind), Augment(), batch=2, epochs=8)
        batches = list(made)
        assert list(made.unreadable) == [str(path)]
        return batches

    assert all_equal(first(kind), first(None))


def test_photographs(shared_data):
    root = shared_data / "coco128"
    [file] = (root / "annotations").iterdir()
    data = Data(root=str(root), size=320, limit=12, workers=0, val_annotations=f"annotations/{file.name}")
    train = open_data(data).train

    def first(kind):
        chosen = data.model_copy(update={"cache": kind})
        return list(TrainLoader(train, chosen, EVERYTHING, batch=6, epochs=8))

    assert all_equal(first("ram"), first(None))
