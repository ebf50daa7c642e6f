"""Training loader against a plain albumentations pipeline, turn about in one run.

    OMP_NUM_THREADS=1 python benchmarks/loading.py ROOT [--val FILE] [--workers 0 2] [--rounds 5]

ROOT is a COCO folder of some hundred photographs. Ours: mosaic of four images, zoom, shift, flip, HSV; and the same of one
image. Plain: letterbox, affine, flip, HSV of one image. All: 640 pixels, batches of 16 as uint8 (B, 3, H, W), files read and
decoded anew every epoch (no cache), one thread a process.

Ours decodes at half its resolution, as JPEG allows, what is drawn at half its size or less; --full decodes all of it.
"""

import argparse
import os
import statistics
import time

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from detkit.data import dataset
from detkit.data.augment import Augment
from detkit.data.layout import open_data
from detkit.data.loader import TrainLoader
from detkit.data.spec import Data

SIZE, BATCH = 640, 16


class Plain(Dataset):
    def __init__(self, annotations):
        self.annotations = annotations
        self.transform = A.Compose(
            [
                A.LongestMaxSize(SIZE),
                A.PadIfNeeded(SIZE, SIZE, fill=114),
                A.Affine(scale=(0.5, 1.5), translate_percent=(-0.1, 0.1), fill=114, p=1),
                A.HorizontalFlip(),
                A.HueSaturationValue(p=1),
            ],
            bbox_params=A.BboxParams(format="pascal_voc", label_fields=["labels"], clip=True),
        )

    def __len__(self):
        return len(self.annotations)

    def __getitem__(self, index):
        image = cv2.cvtColor(cv2.imread(self.annotations.paths[index]), cv2.COLOR_BGR2RGB)
        sample = self.annotations.sample(index, image)
        made = self.transform(image=image, bboxes=sample.boxes, labels=sample.labels)
        return torch.from_numpy(np.ascontiguousarray(made["image"].transpose(2, 0, 1))), torch.as_tensor(made["bboxes"])


def collate(items):
    return torch.stack([image for image, _ in items]), [boxes for _, boxes in items]


def speed(loader):
    start = time.perf_counter()
    images = sum(len(batch[0]) for batch in loader)
    return images / (time.perf_counter() - start)


def loaders(arguments, workers):
    data = Data(root=arguments.root, workers=workers, size=SIZE, val_annotations=arguments.val)
    train = open_data(data).train
    return {
        "mosaic of four": TrainLoader(train, data, Augment(), batch=BATCH, epochs=1000),
        "one image": TrainLoader(train, data, Augment(mosaic=0), batch=BATCH, epochs=1000),
        "plain": DataLoader(
            Plain(train),
            BATCH,
            True,
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
            worker_init_fn=(lambda _: cv2.setNumThreads(0)) if workers else None,
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root")
    parser.add_argument("--val", help="annotation file under ROOT, where it has none for validation")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if arguments.full:
        dataset.reduction_for = lambda scale: 1
    for workers in arguments.workers:
        made = loaders(arguments, workers)
        rounds = [{name: speed(loader) for name, loader in made.items()} for _ in range(arguments.rounds + 1)][1:]
        for name in made:
            ratio = statistics.median(speeds[name] / speeds["plain"] for speeds in rounds)
            print(
                f"workers {workers}: {name:14} {statistics.median(r[name] for r in rounds):4.0f} images/s, {ratio:.2f} x plain"
            )


if __name__ == "__main__":
    main()
