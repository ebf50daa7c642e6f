"""Two processes score what one does: every image once, surplus images not at all, the same result everywhere."""

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import distributed, multiprocessing

from detkit.evaluation.coco import CocoMetric
from tests.evaluation.test_coco import NAMES, random_case

CASES = [(1, True), (5, True), (5, False)]
"""Images, and whether the surplus carries a flag; Lightning's own sampler gives it none."""


def score(images: int, indices: list[int], scored: list[bool]):
    truth, detections = random_case(np.random.default_rng(images), images, 4, 12)
    metric = CocoMetric(truth, NAMES)
    for index, count in zip(indices, scored, strict=True):
        metric.update([detections[index]], [10 + index], [count])
    return metric.compute(), sorted(metric.results(), key=lambda item: (item["image_id"], -item["score"], item["bbox"]))


def worker(rank: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    where = Path(folder)
    distributed.init_process_group("gloo", f"file://{where / 'meet'}", world_size=processes, rank=rank)
    results = []
    for images, flagged in CASES:
        mine = [rank + step * processes for step in range(-(-images // processes))]  # the surplus starts again at the first
        results.append(score(images, [i % images for i in mine], [i < images or not flagged for i in mine]))
    (where / f"{rank}.pickle").write_bytes(pickle.dumps(results))
    distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    multiprocessing.spawn(worker, (2, str(tmp_path)), nprocs=2)
    alone = [score(images, list(range(images)), [True] * images) for images, _ in CASES]
    for rank in range(2):
        assert pickle.loads((tmp_path / f"{rank}.pickle").read_bytes()) == alone
