"""RT-DETR's criterion: two processes with a part of the batch each have, on average, the gradient of one with all of it."""

import torch
from torch import distributed, multiprocessing

from detkit.losses.dense_proposals import DenseProposals
from detkit.losses.detr import DETRCriterion
from tests.losses.queries import CLASSES, box_targets, images_of, leaves, query_output

SCENES = {"uneven": (3, 1, 9, 0), "one rank without boxes": (3, 5, 0, 0), "one": (1, 0, 0, 0), "empty": (0, 0, 0, 0)}
SPECS = {"published": DETRCriterion(), "dense": DETRCriterion(dense=DenseProposals())}
CASES = [(spec, counts) for spec in SPECS for counts in SCENES]


def run(spec, raw, targets):
    """Return the losses and the gradient of each leaf."""
    losses = SPECS[spec].build(CLASSES, ())(raw, targets)
    gradients = torch.autograd.grad(sum(losses.values()), list(leaves(raw).values()))
    return {name: value.detach() for name, value in losses.items()}, dict(zip(leaves(raw), gradients, strict=True))


def worker(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    results = {}
    for spec, counts in CASES:
        cut = 3 if counts == "uneven" else 2
        results[spec, counts] = run(spec, *images_of(*scene(counts), [slice(0, cut), slice(cut, 4)][rank]))
    raw, targets = scene("uneven")
    run("published", raw if rank == 0 else raw._replace(denoised=None), targets)  # all sum the same counts: nobody waits
    torch.save(results, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def scene(counts):
    return query_output(SCENES[counts], 1), box_targets(SCENES[counts], 1)


def test_average_over_processes_equals_one_process(tmp_path):
    multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for case in CASES:
        losses, gradients = run(case[0], *scene(case[1]))
        for name, value in losses.items():
            assert torch.allclose((first[case][0][name] + second[case][0][name]) / 2, value, rtol=1e-9), (case, name)
        for name, gradient in gradients.items():
            images = 0 if name.startswith("proposals") else 1
            spread = torch.cat((first[case][1][name], second[case][1][name]), images) / 2
            assert torch.allclose(spread, gradient, rtol=1e-9, atol=1e-12), (case, name)
