"""Two processes with half a batch each have, on average, the gradient of one process with all of it."""

import pytest
import torch
from torch import distributed, multiprocessing

from detkit.losses.ciou import CIoU
from detkit.losses.detection import DetectionCriterion
from detkit.losses.reduce import sum_over_processes, world_size
from detkit.losses.wiou import WIoU
from detkit.structures import DenseOutput, Targets
from tests.losses.scenes import CLASSES, STRIDES, random_targets, raw_output

SCENES = {
    "uneven": [3, 1, 9, 0],
    "one rank without boxes": [3, 5, 0, 0],
    "few": [1, 0, 1, 0],
    "one": [1, 0, 0, 0],
    "empty": [0] * 4,
}
LOSSES = {"plain": CIoU(), "with a running mean": WIoU(steps=2)}


def run(raw: DenseOutput, targets: Targets, box_loss: str, compiled: bool = False):
    """Return the losses and the gradients of both outputs."""
    module = DetectionCriterion(box_loss=LOSSES[box_loss]).build(CLASSES, STRIDES).double()
    if compiled:
        module = torch.compile(module, fullgraph=True, backend="aot_eager")
    losses = module(raw, targets)
    gradients = torch.autograd.grad(sum(losses.values()), (raw.distances, raw.scores))
    return torch.stack(list(losses.values())).detach(), gradients


def scene(counts):
    """A batch of four images with ``counts`` boxes."""
    raw = raw_output(len(counts), 1, torch.float64)
    return raw, random_targets(counts, 1, smallest=12)


def part(raw, targets, rows):
    raw = raw._replace(
        distances=raw.distances.detach()[rows].requires_grad_(), scores=raw.scores.detach()[rows].requires_grad_()
    )
    return raw, Targets(targets.boxes[rows], targets.labels[rows], targets.counts[rows])


def worker(rank, folder, compiled):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    results = {}
    for name, counts in SCENES.items():
        rows = [slice(0, 2), slice(2, 4)][rank] if name != "uneven" else [slice(0, 3), slice(3, 4)][rank]
        for loss in LOSSES:
            results[name, loss] = run(*part(*scene(counts), rows), loss, compiled)
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["eager", "compiled"])
def test_average_over_processes_equals_one_process(tmp_path, compiled):
    multiprocessing.spawn(worker, (str(tmp_path), compiled), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for name, loss in ranks[0]:
        losses, gradients = run(*scene(SCENES[name]), loss)
        halves = [results[name, loss] for results in ranks]
        assert torch.allclose((halves[0][0] + halves[1][0]) / 2, losses, rtol=1e-9), (name, loss)
        for index, gradient in enumerate(gradients):
            spread = torch.cat([half[1][index] for half in halves]) / 2
            assert torch.allclose(spread, gradient, rtol=1e-9, atol=1e-12), (name, loss)


def test_one_process_is_left_alone():
    values = torch.arange(3.0)
    assert world_size() == 1
    assert sum_over_processes(values) is values
