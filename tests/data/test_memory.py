"""The loader's processes don't grow: as `benchmarks/memory.py` measures, over fewer epochs."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.memory import make_loader, measure, write_images
from detkit.data.dataset import TrainDataset

EPOCHS, SETTLED = 12, 6
MOST = 1.5
"""MB that a process may grow by from epoch `SETTLED` on; what is kept of each sample would show after 3,000 of them."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/smaps_rollup").is_file(), reason="this system does not say what is a process's own"
    ),
]


def growth(folder, workers):
    write_images(folder, images=500, boxes=20_000)
    loader = make_loader(folder, workers, EPOCHS)
    found = measure(loader, EPOCHS, {SETTLED, EPOCHS})
    loader.close()
    assert len(found[EPOCHS]) == 1 + workers
    return [after[0] - before[0] for before, after in zip(found[SETTLED], found[EPOCHS], strict=True)]


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_is_flat(tmp_path, workers):
    assert max(growth(tmp_path, workers)) < MOST


def test_what_grows_is_seen(tmp_path, monkeypatch):
    original, kept = TrainDataset.__getitem__, []

    def hoarding(dataset, address):
        sample = original(dataset, address)
        kept.append(np.array(sample.image))
        return sample

    monkeypatch.setattr(TrainDataset, "__getitem__", hoarding)
    assert min(growth(tmp_path, workers=2)[1:]) > MOST
