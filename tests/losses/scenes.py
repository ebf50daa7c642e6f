"""What the tests of losses share: a dense head's raw output and targets, drawn from a seed."""

import torch

from detkit.structures import DenseOutput, Targets

SIZE, STRIDES, CLASSES, BINS = 64, (8, 16, 32), 5, 16


def cells(size=SIZE, strides=STRIDES, dtype=torch.float32):
    """Centres (N, 2) and strides (N,) of all cells of all levels."""
    anchors, steps = [], []
    for stride in strides:
        centres = (torch.arange(size // stride, dtype=dtype) + 0.5) * stride
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        anchors.append(torch.stack((x, y), -1).view(-1, 2))
        steps.append(torch.full((len(anchors[-1]),), stride, dtype=dtype))
    return torch.cat(anchors), torch.cat(steps)


def raw_output(images, seed=0, dtype=torch.float32, classes=CLASSES, spread=1.5):
    """Random logits that take gradients."""
    generator = torch.Generator().manual_seed(seed)
    anchors, strides = cells()
    distances = torch.randn(images, len(anchors), 4, BINS, generator=generator) * spread
    distances[..., 5:] -= 2  # boxes of a few strides
    scores = torch.randn(images, len(anchors), classes, generator=generator) - 1
    return DenseOutput(
        distances.to(dtype).requires_grad_(), scores.to(dtype).requires_grad_(), anchors.to(dtype), strides.to(dtype)
    )


def random_targets(counts, seed=0, multiple=16, smallest=4.0, largest=40.0):
    """Targets with ``counts`` boxes in each image."""
    generator = torch.Generator().manual_seed(seed)
    boxes, labels = [], []
    for count in counts:
        centre = torch.rand(count, 2, generator=generator) * SIZE
        half = (smallest + torch.rand(count, 2, generator=generator) * (largest - smallest)) / 2
        boxes.append(torch.cat((centre - half, centre + half), 1).clamp(0, SIZE))
        labels.append(torch.randint(0, CLASSES, (count,), generator=generator))
    return Targets.pack(boxes, labels, multiple=multiple)
