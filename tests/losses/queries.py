"""What the tests of the criterion of queries share: a decoder's raw output and targets, drawn from a seed."""

import torch

from detkit.structures import Denoised, Proposals, QueryOutput, Targets

SIZE, CLASSES = (96, 64), 5  # height, width


def random_boxes(generator, *shape, dtype=torch.float64):
    """Cxcywh, normalised; they may cross the borders."""
    centre, extent = (torch.rand(*shape, 2, generator=generator, dtype=dtype) for _ in range(2))
    return torch.cat((centre, 0.05 + extent * 0.5), -1)


def box_targets(counts, seed=0, multiple=16):
    """Targets in pixels with ``counts`` boxes in each image."""
    generator = torch.Generator().manual_seed(seed)
    height, width = SIZE
    boxes, labels = [], []
    for count in counts:
        corner, extent = (torch.rand(count, 2, generator=generator) for _ in range(2))
        low = corner * 0.6
        boxes.append(torch.cat((low, low + 0.05 + extent * 0.3), 1) * torch.tensor([width, height, width, height]))
        labels.append(torch.randint(0, CLASSES, (count,), generator=generator))
    return Targets.pack(boxes, labels, multiple=multiple)


def noisy_places(counts, groups):
    """Return target, positive, share (B, D): groups of little noise, then of much; other shares in every second image."""
    most = max(1, *counts)
    box = torch.arange(most).repeat(2 * groups).expand(len(counts), -1)
    positive = torch.tensor([True] * most + [False] * most).repeat(groups).expand(len(counts), -1)
    real = box < torch.tensor(counts)[:, None]
    return box.where(real, 0), positive & real, real / (groups * (1 + torch.arange(len(counts))[:, None] % 2))


def query_output(counts, seed=0, layers=3, queries=24, cells=60, groups=2, dtype=torch.float64):
    """Random raw output that takes gradients, with proposals and denoising."""
    generator = torch.Generator().manual_seed(seed)
    images = len(counts)
    target, positive, share = noisy_places(counts, groups)

    def boxes(*shape):
        return random_boxes(generator, *shape).to(dtype).requires_grad_()

    def scores(*shape):
        return (torch.randn(*shape, CLASSES, generator=generator, dtype=torch.float64) * 1.5 - 1).to(dtype).requires_grad_()

    height, width = SIZE
    centres = torch.rand(cells, 2, generator=generator, dtype=torch.float64)
    around = centres + (torch.rand(images, cells, 2, generator=generator, dtype=torch.float64) - 0.5) * 0.1
    extents = 0.1 + torch.rand(images, cells, 2, generator=generator, dtype=torch.float64) * 0.3
    near = torch.cat((around, extents), -1).to(dtype).requires_grad_()
    chosen = torch.stack([torch.randperm(cells, generator=generator)[:queries] for _ in range(images)])
    return QueryOutput(
        boxes(layers, images, queries),
        scores(layers, images, queries),
        SIZE,
        Proposals(near, scores(images, cells), centres * torch.tensor([width, height]), chosen),
        Denoised(boxes(layers, images, target.shape[1]), scores(layers, images, target.shape[1]), target, positive, share),
    )


def leaves(raw):
    """What takes a gradient, by name."""
    found = {"boxes": raw.boxes, "scores": raw.scores}
    for name in ("proposals", "denoised"):
        part = getattr(raw, name)
        if part is not None:
            found |= {f"{name}.boxes": part.boxes, f"{name}.scores": part.scores}
    return found


def like(raw, change):
    """Return ``raw`` with each leaf replaced by ``change`` of its values, as new leaves."""

    def both(part):
        return {name: change(getattr(part, name).detach().clone()).requires_grad_() for name in ("boxes", "scores")}

    proposals = raw.proposals and raw.proposals._replace(**both(raw.proposals))
    denoised = raw.denoised and raw.denoised._replace(**both(raw.denoised))
    return raw._replace(**both(raw), proposals=proposals, denoised=denoised)


def images_of(raw, targets, rows):
    """Return the part of a batch that ``rows`` (a slice) names, as new leaves."""
    denoised = raw.denoised._replace(
        boxes=raw.denoised.boxes[:, rows],
        scores=raw.denoised.scores[:, rows],
        **{name: getattr(raw.denoised, name)[rows] for name in ("target", "positive", "share")},
    )
    cells = {name: getattr(raw.proposals, name)[rows] for name in ("boxes", "scores", "chosen")}
    part = raw._replace(
        boxes=raw.boxes[:, rows], scores=raw.scores[:, rows], proposals=raw.proposals._replace(**cells), denoised=denoised
    )
    return like(part, lambda values: values), Targets(targets.boxes[rows], targets.labels[rows], targets.counts[rows])
