"""Boxes at their extremes: losses and gradients stay finite, and near those of float32, in every precision.

How near is what autocast rounds, to 8 bits (bfloat16) or 11 (float16), and for the gradient which of two equally good
predictions gets a box.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn.utils import get_total_norm

from detkit.losses.dense_proposals import DenseProposals
from detkit.losses.detection import DetectionCriterion
from detkit.losses.detr import DETRCriterion
from detkit.parts import BoxLossSpec
from detkit.structures import Targets
from tests.train.tiny import tiny_model, tiny_rtdetr

SIZE = 64
FAMILIES = {
    "yolo": tiny_model().model_copy(update={"after": {}}),
    "rtdetr": tiny_rtdetr(queries=84),
    "rtdetr-dense": tiny_rtdetr(queries=84, criterion=DETRCriterion(dense=DenseProposals())),
}
"""Every cell is a query: which of many equally sure ones becomes one hangs on the last digit."""
SCENES = {
    "one pixel": [[10, 10, 11, 11], [63, 63, 64, 64], [30.25, 30.25, 30.75, 30.75]],
    "as large as the image": [[0, 0, SIZE, SIZE]] * 2,
    "no area": [[5, 5, 5, 9], [7, 7, 7, 7], [9, 9, 12, 9]],
    "320 boxes": [[i % 20, i // 20, i % 20 + 4 + i % 37, i // 20 + 5 + i % 23] for i in range(320)],
    "none": [],
    "on the edge": [[0, 0, 8, 8], [56, 56, 64, 64], [63, 0, 64, 64], [0, 63, 64, 64]],
    "duplicates": [[12, 12, 40, 40]] * 9,
    "beyond the edge": [[-30, -30, 10, 10], [50, 50, 200, 200], [-1e4, -1e4, 1e4, 1e4]],
}
each_family = pytest.mark.parametrize("family", ["yolo", "rtdetr", pytest.param("rtdetr-dense", marks=pytest.mark.slow)])
DTYPES = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
NEAR = {"bfloat16": (5e-3, 0.1), "float16": (5e-4, 0.1)}
"""Largest relative difference to float32, of the loss and of the norm of the gradient."""
PARTS = [part for part in BoxLossSpec.parts().values() if part.__module__.startswith("detkit.")]


def batch(scene):
    """Return two images and their targets: a scene, and an ordinary box."""
    boxes = [torch.tensor(SCENES[scene], dtype=torch.float32).reshape(-1, 4), torch.tensor([[8.0, 8, 40, 30]])]
    targets = Targets.pack(boxes, [torch.arange(len(item)) % 2 for item in boxes])
    images = torch.rand(len(boxes), 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    return images, targets


def measured(family, scene, precision, shift=0.0):
    """Return the loss of a step, and the norm of its gradient; ``shift`` is added to all class logits."""
    torch.manual_seed(0)
    detector = FAMILIES[family].build(2)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # in training, statistics of eight values make much of a rounding error
    images, targets = batch(scene)
    dtype = DTYPES[precision]
    with nullcontext() if dtype is None else torch.autocast("cpu", dtype):
        raw = detector.raw(detector.features(images), targets)
        losses = detector.loss(raw._replace(scores=raw.scores + shift), targets)
    sum(losses.values()).backward()
    gradients = {name: value.grad for name, value in detector.named_parameters() if value.grad is not None}
    assert not [name for name, loss in losses.items() if not loss.isfinite()]
    assert not [name for name, gradient in gradients.items() if not gradient.isfinite().all()]
    return sum(losses.values()).item(), get_total_norm(gradients.values()).item()


@pytest.mark.parametrize("scene", SCENES)
@each_family
def test_extreme_boxes(family, scene):
    loss, norm = measured(family, scene, "float32")
    for precision, (loss_near, norm_near) in NEAR.items():
        found, found_norm = measured(family, scene, precision)
        assert found == pytest.approx(loss, rel=loss_near), precision
        assert found_norm == pytest.approx(norm, rel=norm_near), precision


@pytest.mark.parametrize("precision", DTYPES)
@each_family
def test_saturated_scores(family, precision):
    """Scores of 0 and 1 to the last digit, wrong ones among them."""
    assert sum(measured(family, "duplicates", precision, shift)[0] for shift in (1e4, -1e4)) > 1


@pytest.fixture(scope="module")
def outputs():
    """What each family's head puts out for each scene, with the criterion's targets."""
    torch.manual_seed(0)
    made = {}
    with torch.no_grad():
        for family in ("yolo", "rtdetr"):
            detector = FAMILIES[family].build(2)
            for scene in SCENES:
                images, targets = batch(scene)
                raw = detector.raw(detector.features(images), targets)
                made[family, scene] = (raw._replace(denoised=None, proposals=None) if family == "rtdetr" else raw), targets
    return made


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
@pytest.mark.parametrize("family", ["yolo", "rtdetr"])
def test_every_box_loss_lifts_what_is_half(outputs, family, part):
    """Half precision outputs give the losses of the same numbers in float32, and the gradients, rounded."""
    spec = DetectionCriterion(box_loss=part()) if family == "yolo" else DETRCriterion(box_loss=part())
    read = ("distances", "scores") if family == "yolo" else ("boxes", "scores")
    for scene in SCENES:
        raw, targets = outputs[family, scene]
        for dtype in (torch.bfloat16, torch.float16):
            found = []
            for kind in (dtype, torch.float32):
                values = {name: getattr(raw, name).to(dtype).to(kind).requires_grad_() for name in read}
                losses = spec.build(2, (8, 16, 32))(raw._replace(**values), targets)
                sum(losses.values()).backward()
                found.append(({name: loss.item() for name, loss in losses.items()}, [x.grad.float() for x in values.values()]))
            (losses, gradients), (expected, exact) = found
            assert losses == pytest.approx(expected, rel=1e-6), scene
            for ours, theirs in zip(gradients, exact, strict=True):
                assert ours.isfinite().all()
                torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-6)
