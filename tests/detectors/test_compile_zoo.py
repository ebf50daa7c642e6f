"""The published detectors compile to one graph, in training and in evaluation."""

import pytest
import torch

from detkit.structures import Targets
from detkit.zoo import yolo11, yolov8


@pytest.mark.parametrize("family", [yolov8, yolo11])
def test_one_graph_that_equals_eager(family):
    torch._dynamo.reset()
    detector = family("n").build(num_classes=3)
    compiled = torch.compile(detector, fullgraph=True, backend="aot_eager")
    images = torch.rand(2, 3, 64, 64)
    targets = Targets.pack([torch.tensor([[5.0, 5, 40, 40]])] * 2, [torch.tensor([1])] * 2)
    losses = compiled(images, targets)
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in detector.parameters())
    for name, value in detector(images, targets).items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-4)
    detector.eval()
    with torch.no_grad():
        torch.testing.assert_close(compiled(images).boxes, detector(images).boxes, rtol=1e-4, atol=1e-3)
