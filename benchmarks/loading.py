"""Training loader against a plain albumentations pipeline, turn about in one run.

    python benchmarks/loading.py ROOT [workers] [rounds]

ROOT is a COCO folder of some hundred photographs. Ours: mosaic of four images, zoom, shift, flip, HSV. Plain: letterbox,
affine, flip, HSV of one image. Both: 640 pixels, batches of 16 as uint8 (B, 3, H, W). One thread a process.
"""

import os
import statistics
import sys
import time

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

import albumentations as A
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

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


def main(root, workers=2, rounds=4):
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    data = Data(root=root, workers=workers, size=SIZE)
    train = open_data(data).train
    ours = TrainLoader(train, data, Augment(), batch=BATCH, epochs=1000)
    one_thread = (lambda _: cv2.setNumThreads(0)) if workers else None
    plain = DataLoader(
        Plain(train),
        BATCH,
        True,
        num_workers=workers,
        collate_fn=collate,
        persistent_workers=workers > 0,
        worker_init_fn=one_thread,
    )
    speed(ours), speed(plain)
    results = [(speed(ours), speed(plain)) for _ in range(rounds)]
    for mine, theirs in results:
        print(f"workers {workers}: ours {mine:.0f}, plain {theirs:.0f} images/s, ratio {mine / theirs:.2f}")
    print(f"median ratio {statistics.median(mine / theirs for mine, theirs in results):.2f}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
