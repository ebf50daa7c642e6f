"""A detector's training step and evaluation forward are one graph."""

from functools import partial

import pytest
import torch
from torch._inductor import config as inductor

from detkit.zoo import rtdetr, yolo11, yolov8
from tests.networks import scrambled, small_rtdetr, small_yolo, some_targets


def train_and_evaluate(detector, backend):
    """Compare compiled with eager: gradients and predictions.

    In float64: norms over the few cells of small images blow float32's rounding up to 1e-3 of the largest gradient.
    """
    detector.double().train()
    compiled = torch.compile(detector, fullgraph=True, backend=backend)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    state = {name: value.clone() for name, value in detector.state_dict().items()}
    gradients = []
    for network in (detector, compiled):
        detector.load_state_dict(state)
        detector.zero_grad()
        torch.manual_seed(0)
        losses = network(images, some_targets((3, 0)))
        sum(losses.values()).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in detector.parameters()]))
    assert (gradients[0] - gradients[1]).abs().max() < 1e-7 * gradients[0].abs().max()
    detector.eval()
    with torch.no_grad():
        expected, found = detector(images), compiled(images)
    assert (expected.boxes - found.boxes).abs().max() < 1e-7 * expected.boxes.abs().max()
    assert (expected.scores - found.scores).abs().max() < 1e-7 * expected.scores.max()


@pytest.fixture(autouse=True)
def _fresh():
    """Compile anew, and draw what eager would: inductor's own random numbers are others, and so would be RT-DETR's noise."""
    torch.compiler.reset()
    with inductor.patch(fallback_random=True):
        yield


@pytest.mark.parametrize("spec", [small_yolo(), small_rtdetr(levels=2, head={"depth": 2})], ids=["yolo", "rtdetr"])
def test_small_detector_is_one_graph(spec):
    train_and_evaluate(scrambled(spec.build(3)), "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize(
    "reference", [partial(yolov8, "n"), partial(yolo11, "n"), partial(rtdetr, "r18")], ids=["yolov8n", "yolo11n", "rtdetr_r18"]
)
def test_reference_detectors_are_one_graph(reference, backend):
    torch.manual_seed(0)
    detector = reference().build(num_classes=80)
    train_and_evaluate(detector, backend)
    compiled = torch.compile(detector.train(), fullgraph=True, backend=backend)
    for counts in ((3, 0), (17, 2), (40, 33)):  # 16, 32 and 48 padded boxes
        losses = compiled(torch.rand(2, 3, 64, 64), some_targets(counts, classes=80))
        assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize("spec", [small_yolo(), small_rtdetr()], ids=["yolo", "rtdetr"])
def test_evaluation_forward_exports_for_any_batch_and_size(spec):
    detector = scrambled(spec.build(3)).eval()
    images, others = torch.rand(2, 3, 64, 64), torch.rand(3, 3, 96, 128)
    free = dict.fromkeys((0, 2, 3), torch.export.Dim.AUTO)
    with torch.no_grad():
        exported = torch.export.export(detector, (images,), dynamic_shapes={"images": free}).module()
        for batch in (images, others):
            assert torch.allclose(exported(batch).boxes, detector(batch).boxes, rtol=1e-4, atol=1e-3)
