"""Memory of the training loader's processes, epoch by epoch: it must not grow.

    OMP_NUM_THREADS=1 python -m benchmarks.memory [--epochs 50] [--images 2000] [--boxes 20000] [--workers 2]

Draws JPEGs of 32 pixels, and goes through epochs of mosaics of them. After some epochs it prints for each process, in MB: what
is its own alone (USS), and that plus its share of what it has in common with others (PSS). What grows elsewhere are annotations
in Python objects: reading one writes its reference count, so that a forked worker copies its page. Ours are arrays.
"""

import argparse
import gc
import json
import multiprocessing
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np

from detkit.data.augment import Augment
from detkit.data.layout import open_data
from detkit.data.loader import TrainLoader
from detkit.data.spec import Data

SIDE, BATCH = 32, 16
MEGA = 1024


def write_images(root: Path, images: int, boxes: int) -> None:
    """Write a COCO folder; validation is one image."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for split, count in (("train", images), ("val", 1)):
        entries = [{"id": i, "file_name": f"{split}{i}.jpg", "width": SIDE, "height": SIDE} for i in range(count)]
        for entry in entries:
            cv2.imwrite(str(root / "images" / entry["file_name"]), rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
        shape = boxes * count // images, 2
        corners, sides = rng.uniform(0, SIDE / 2, shape), rng.uniform(2, SIDE / 2, shape)
        annotations = [
            {"id": i + 1, "image_id": i % count, "category_id": 1 + i % 3, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, box in enumerate(np.hstack([corners, sides]).tolist())
        ]
        content = {"images": entries, "annotations": annotations, "categories": [{"id": i, "name": f"c{i}"} for i in (1, 2, 3)]}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def make_loader(root: Path, workers: int, epochs: int) -> TrainLoader:
    data = Data(root=str(root), size=SIDE, workers=workers)
    return TrainLoader(open_data(data).train, data, Augment(), batch=BATCH, epochs=epochs)


def megabytes(process: int) -> tuple[float, float]:
    """Return USS and PSS of a process."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
    size = {line.split(":")[0]: int(line.split()[1]) / MEGA for line in lines}
    return size["Private_Clean"] + size["Private_Dirty"], size["Pss"]


def measure(loader, epochs: int, at: set[int]) -> dict[int, list[tuple[float, float]]]:
    """Return, after each of the epochs ``at``, the memory of this process and of the workers, in order of their ids."""
    found = {}
    for epoch in range(1, epochs + 1):
        for _ in loader:
            pass
        if epoch in at:
            gc.collect()
            workers = sorted(child.pid for child in multiprocessing.active_children())
            found[epoch] = [megabytes(process) for process in (os.getpid(), *workers)]
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--boxes", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    at = {1, 2, 5, *range(10, arguments.epochs + 1, 10)}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder) / "data", arguments.images, arguments.boxes)
        loader = make_loader(Path(folder) / "data", arguments.workers, arguments.epochs)
        gc.collect()
        found = measure(loader, arguments.epochs, at)
    names = ["main", *(f"worker {number}" for number in range(arguments.workers))]
    print("| epoch |", " | ".join(f"{name} USS | PSS" for name in names), "|")
    print("|---|" + "---|---|" * len(names))
    for epoch, processes in found.items():
        print(f"| {epoch} |", " | ".join(f"{own:.1f} | {share:.1f}" for own, share in processes), "|")


if __name__ == "__main__":
    main()
