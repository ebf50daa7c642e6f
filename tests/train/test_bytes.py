"""Images travel to the device as bytes, a quarter of what floats take; the detector makes floats of them there."""

import numpy as np
import pytest
import torch

from detkit.deploy.predictor import Predictor
from detkit.detectors.base import ComposedDetector
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from tests.deploy.fakes import NAMES, BlobDetector
from tests.train.tiny import tiny_experiment, tiny_rtdetr


def spied(monkeypatch, owner, name, of):
    """Return a list of what ``of`` says of the arguments of every call of a method."""
    seen, method = [], getattr(owner, name)

    def spy(self, *arguments):
        seen.append(of(*arguments))
        return method(self, *arguments)

    monkeypatch.setattr(owner, name, spy)
    return seen


@pytest.mark.parametrize("family", ["yolo", "rtdetr"])
def test_training_and_evaluation_move_bytes(family, rectangles, tmp_path, monkeypatch):
    steps = ("on_train_batch_start", "validation_step")  # after a batch is moved, before anything is done to it
    trained, evaluated = (spied(monkeypatch, DetectorModule, name, lambda batch, _: batch.images.dtype) for name in steps)
    given = spied(monkeypatch, ComposedDetector, "features", lambda images: images.dtype)
    model = tiny_rtdetr() if family == "rtdetr" else None
    fit(tiny_experiment(rectangles, tmp_path, model=model, epochs=1, multi_scale=0), progress=False)
    assert (len(trained), len(evaluated), len(given)) == (5, 2, 7)
    assert {*trained, *evaluated, *given} == {torch.uint8}


def test_prediction_moves_bytes(monkeypatch):
    given = spied(monkeypatch, BlobDetector, "forward", lambda images: images.dtype)
    Predictor(BlobDetector(), NAMES, (64, 64), device="cpu")(np.zeros((48, 64, 3), np.uint8))
    assert given == [torch.uint8]
