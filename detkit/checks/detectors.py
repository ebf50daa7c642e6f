"""Cases about whole detectors: predictions, losses, fusing."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from detkit.checks.case import Broken
from detkit.checks.subject import Subject, near, scramble
from detkit.checks.subjects import NUM_CLASSES, some_targets
from detkit.checks.training import listed
from detkit.parts import Detector

SIZE = (64, 96)


def images(batch: int = 2) -> Tensor:
    """Return images of noise, uint8."""
    return torch.randint(0, 256, (batch, 3, *SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def detector(subject: Subject) -> Detector:
    """Return a detector whose every weight is random, in evaluation.

    Raises:
        Broken: ``build`` returns something else.
    """
    built = subject.built()
    if not isinstance(built, Detector):
        raise Broken(f"build() returns a {type(built).__name__}, which is no Detector", "derive it from detkit.parts.Detector")
    scramble(built)
    return built.eval()


@torch.no_grad()
def predicts(subject: Subject) -> None:
    """Images give boxes (B, N, 4) and scores (B, N, C) in [0, 1], the same as bytes and as floating numbers."""
    module, x = detector(subject), images()
    found = module(x)
    count = found.boxes.shape[1]
    if found.boxes.shape != (2, count, 4) or found.scores.shape != (2, count, NUM_CLASSES):
        shapes = f"boxes {tuple(found.boxes.shape)} and scores {tuple(found.scores.shape)}"
        raise Broken(f"two images give {shapes}", f"decode to (B, N, 4) and (B, N, {NUM_CLASSES})")
    if not found.boxes.isfinite().all() or found.scores.min() < 0 or found.scores.max() > 1:
        raise Broken("boxes are not finite, or scores not in [0, 1]", "decode() returns probabilities, not logits")
    floating = module(x / 255)
    near([floating.boxes, floating.scores], [found.boxes, found.scores], 1e-4, "images as bytes and as numbers in [0, 1]")


@torch.no_grad()
def detects(subject: Subject) -> None:
    """Predictions become a list of detections an image, best first, at most so many."""
    module = detector(subject)
    found = module.detect(module(images()), confidence=0.0, limit=5)
    if len(found) != 2 or any(len(one.boxes) > 5 for one in found):
        raise Broken("two images don't give two lists of at most 5 detections", "detect() returns one Detections an image")
    if any((one.scores.diff() > 0).any() for one in found):
        raise Broken("detections are not sorted", "put the best first")


def learns(subject: Subject) -> None:
    """Targets give finite losses, with boxes and without; every parameter gets a finite gradient."""
    for counts in (None, 0):
        module, targets = detector(subject).train(), some_targets(2)
        targets = targets if counts is None else targets._replace(counts=targets.counts * 0)
        losses = module(images(), targets)
        if not all(value.isfinite() for value in losses.values()):
            raise Broken(f"losses are not finite: {losses}", "divide by counts clamped to 1")
        torch.stack(list(losses.values())).sum().backward()
        wild = [name for name, p in module.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        idle = [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]
        if wild or (idle and counts is None):
            raise Broken(f"no finite gradient reaches {listed(wild or idle)}", "create what is used, and divide by no zero")


@torch.no_grad()
def fuses_whole(subject: Subject) -> None:
    """``fuse()`` and ``deepcopy`` give equal detectors and leave the original as it was."""
    module, x = detector(subject), images()
    expected = module(x)
    for name, twin in (("fuse()", module.fuse()), ("deepcopy", copy.deepcopy(module))):
        found = twin(x)
        near([found.scores, found.boxes], [expected.scores, expected.boxes], 1e-3, name)
    again = module(x)
    near([again.scores, again.boxes], [expected.scores, expected.boxes], 0, "the original after fuse()", "fuse a copy")
