"""Two processes score what one does: every image once, padding images not at all, the same result everywhere."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from detkit.evaluation.coco import CocoMetric
from tests.evaluation.test_coco import NAMES, random_case


def score(truth, detections, image_ids, scored):
    metric = CocoMetric(truth, NAMES)
    for item, image_id, count in zip(detections, image_ids, scored, strict=True):
        metric.update([item], [image_id], [count])
    return metric.compute(), sorted(metric.results(), key=lambda item: (item["image_id"], -item["score"], item["bbox"]))


def worker(rank: int, processes: int, images: int, folder: str) -> None:
    torch.set_num_threads(1)
    where = Path(folder)
    distributed.init_process_group("gloo", f"file://{where / 'meet'}", world_size=processes, rank=rank)
    truth, detections = random_case(np.random.default_rng(images), images, 4, 12)
    steps = -(-images // processes)
    mine = [rank + step * processes for step in range(steps)]  # the surplus starts again at the first image
    scored = [i < images for i in mine]
    result = score(truth, [detections[i % images] for i in mine], [10 + i % images for i in mine], scored)
    (where / f"{rank}.pickle").write_bytes(pickle.dumps(result))
    distributed.destroy_process_group()


@pytest.mark.parametrize("images", [1, 5])
def test_two_processes_equal_one(images, tmp_path):
    truth, detections = random_case(np.random.default_rng(images), images, 4, 12)
    alone = score(truth, detections, [10 + i for i in range(images)], [True] * images)
    multiprocessing.spawn(worker, (2, images, str(tmp_path)), nprocs=2)
    for rank in range(2):
        assert pickle.loads((tmp_path / f"{rank}.pickle").read_bytes()) == alone
