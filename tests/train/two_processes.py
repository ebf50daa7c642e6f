"""What each of two processes does for `tests.train.test_two_processes`, so that one start serves all of its tests.

LOCAL_RANK=0 ... python -m tests.train.two_processes FOLDER
"""

import logging
import os
import pickle
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detkit.data import cache
from detkit.losses.dense_proposals import DenseProposals
from detkit.losses.detr import DETRCriterion
from detkit.structures import Targets
from detkit.train.evaluate import evaluate
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from tests.losses.scenes import random_targets
from tests.train.tiny import tiny_experiment, tiny_model, tiny_rtdetr

FAMILIES = {"yolo": tiny_model(), "rtdetr": tiny_rtdetr()}
IMAGES = (1, 2, 7, 8)
"""Sizes of validation splits."""

STILL = {
    "yolo": tiny_model().model_copy(update={"after": {}}),
    "rtdetr": tiny_rtdetr(label_noise=0, box_noise=0),
    "rtdetr, dense": tiny_rtdetr(label_noise=0, box_noise=0, criterion=DETRCriterion(dense=DenseProposals())),
}
"""Models that draw nothing: without noise all of a box's repetitions are the same, however many there are."""
SCENES = {
    "uneven": ([3, 1, 9, 0], 3),
    "one rank without boxes": ([3, 5, 0, 0], 2),
    "no boxes": ([0, 0, 0, 0], 2),
    "padded to different widths": ([3, 20, 1, 2], 2),
}
"""Boxes of each image, and how many images the first process has."""


def score(folder, name, images, options):
    """Return COCO's numbers of a checkpoint on a data set, one image a batch."""
    words = [f"data.root={folder / str(images)}", "recipe.batch=1", "plots=false", "trainer.accelerator=cpu", *options]
    return evaluate(folder / f"{name}.ckpt", words, output=folder / "eval", progress=False).result


def still_model(name):
    """Return a detector in double precision whose norms leave other images alone."""
    torch.manual_seed(0)
    detector = STILL[name].build(2).double().train()
    for part in detector.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    return detector


def scene(counts):
    images = torch.rand(len(counts), 3, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    targets = random_targets(counts, 2, smallest=12)
    return images, targets._replace(labels=targets.labels % 2)


def gradients(model, images, targets):
    """Return the gradients of all parameters by name; those that have none are left out."""
    model.zero_grad()
    sum(model(images, targets).values()).backward()
    found = {name.removeprefix("module."): value.grad for name, value in model.named_parameters() if value.grad is not None}
    return {name: value.clone() for name, value in found.items()}


def repacked(targets, rows):
    """Return some images' targets, padded as a loader pads them."""
    boxes, labels = zip(*targets.per_image(), strict=True)
    return Targets.pack(boxes[rows], labels[rows])


def shared_gradients(rank):
    """Return each model's gradients in each scene, one after the other under one wrapper, with this process's images."""
    results = {}
    for name in STILL:
        model = DistributedDataParallel(still_model(name))
        for words, (counts, first) in SCENES.items():
            images, targets = scene(counts)
            rows = slice(0, first) if rank == 0 else slice(first, None)
            results[name, words] = gradients(model, images[rows], repacked(targets, rows))
    return results


def train_on_few_boxes(folder, family):
    """Train on four images of which one has boxes, one image a batch and process."""
    experiment = tiny_experiment(folder / "few", folder / family, model=FAMILIES[family], epochs=2, batch=1, nominal_batch=None)
    return fit(both(experiment), progress=False).last.numbers


def train_while_one_breaks(folder, where):
    """Train; before the second epoch a file breaks. Return the run, and what was told."""
    told = []
    listener = logging.Handler()
    listener.emit = lambda record: told.append(record.getMessage())
    logging.getLogger("detkit").addHandler(listener)
    started = DetectorModule.on_train_epoch_start

    def breaking(self):
        started(self)
        assert not self.trainer.strategy.model.will_sync_module_buffers(), "buffers go round at every step"
        if self.trainer.current_epoch == 1:
            (folder / where / "data" / "train2017" / "2.png").write_bytes(b"no picture any more")

    DetectorModule.on_train_epoch_start = breaking
    try:
        experiment = tiny_experiment(folder / where / "data", folder / where, batch=2, epochs=3, nominal_batch=None)
        run = fit(both(experiment), progress=False)
    finally:
        DetectorModule.on_train_epoch_start = started
        logging.getLogger("detkit").removeHandler(listener)
    return str(run.run), told


def both(experiment):
    return experiment.model_copy(update={"trainer": {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}})


def main(folder):
    torch.set_num_threads(1)
    cache.RECENT_BYTES = 0  # else no file is read twice
    rank = int(os.environ["LOCAL_RANK"])
    options = ["trainer.devices=2", "trainer.strategy=ddp"]
    results = {
        "scores": {(name, images): score(folder, name, images, options) for name in FAMILIES for images in IMAGES},
        "gradients": shared_gradients(rank),
        "few": {name: train_on_few_boxes(folder, name) for name in FAMILIES},
        "broken": [train_while_one_breaks(folder, where) for where in ("first", "second")],
    }
    (folder / f"{rank}.pickle").write_bytes(pickle.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
