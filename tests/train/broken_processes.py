"""What each of two processes does for `tests.train.test_broken_processes`; steps break in the second one alone.

LOCAL_RANK=0 ... python -m tests.train.broken_processes DATA FOLDER
"""

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch

from detkit.detectors.base import ComposedDetector
from detkit.errors import UserError
from detkit.train.fit import fit
from tests.train.test_broken import MODELS, plant, spy
from tests.train.tiny import tiny_experiment

SCENES = {"loss": (0, 2), "gradient": (0, 3)}
"""When it breaks: in the first of two batches whose gradients are summed, in the second. The network's input always does."""

CASES = [("yolo", "loss", 5), ("yolo", "gradient", 5), ("yolo", "input", 1), ("rtdetr", "loss", 5), ("rtdetr", "input", 1)]
"""Family, scene, and after how many steps in a row it ends."""


def train(data, folder, family, where, rank, limit):
    """Return what came of a run: steps skipped, the weights after each step, or what ended it."""
    experiment = tiny_experiment(data, folder, model=MODELS[family], batch=2, epochs=1, broken_steps=limit)
    experiment = experiment.model_copy(update={"trainer": {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}})
    with pytest.MonkeyPatch.context() as patch:
        seen = spy(patch)
        if rank == 1 and where == "input":
            spoil_input(patch)
        elif rank == 1:
            plant(patch, where, SCENES[where])
        try:
            return fit(experiment, name=f"{family}-{where}-{limit}", progress=False).skipped, seen
        except UserError as error:
            return str(error), seen


def spoil_input(patch):
    """Give the network NaN in the place of the last image of each batch."""
    original = ComposedDetector.prepare

    def prepare(self, images):
        prepared = original(self, images)
        return torch.cat([prepared[:-1], prepared[-1:] * torch.nan]) if self.training else prepared

    patch.setattr(ComposedDetector, "prepare", prepare)


def main(data, folder):
    torch.set_num_threads(1)
    rank = int(os.environ["LOCAL_RANK"])
    results = {case: train(data, folder, case[0], case[1], rank, case[2]) for case in CASES}
    (Path(folder) / f"{rank}.pickle").write_bytes(pickle.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
