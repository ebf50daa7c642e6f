"""RT-DETR's training step: every kind of target, every variant, no surprises."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from detkit.backbones.presnet import PResNet
from detkit.blocks.mobivari import MobiVari
from detkit.losses.dense_proposals import DenseProposals
from detkit.losses.detr import DETRCriterion
from detkit.losses.mal import MAL
from detkit.necks.hrami import HRAMi
from detkit.structures import Targets
from tests.networks import small_rtdetr, some_targets

HEIGHT, WIDTH = 64, 96
VARIANTS = {
    "plain": {},
    "60 queries": {"head": {"queries": 60}},
    "no denoising": {"head": {"denoising": 0}},
    "one layer": {"head": {"depth": 1}},
    "first layer's boxes": {"head": {"eval_layer": 1}},
    "points by level": {"head": {"points": (1, 2, 3)}},
    "discrete": {"head": {"sampling": "discrete"}},
    "dense": {"criterion": DETRCriterion(dense=DenseProposals())},
    "mal": {"criterion": DETRCriterion(class_loss=MAL())},
    "hrami": {"remix": (HRAMi(),)},
    "after": {"after": {"c5": MobiVari(), "p3": MobiVari()}},
    "no intra": {"intra": None},
    "frozen": {"backbone": PResNet(depths=(1, 1, 1, 1), width=8, norm="frozen")},
}


def targets_of(*images):
    """Boxes by image, with classes in turn."""
    return Targets.pack([torch.tensor(boxes).reshape(-1, 4) for boxes in images], [torch.arange(len(b)) % 3 for b in images])


def crowd(count):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * 40
    return torch.cat((corner, corner + 1 + torch.rand(count, 2, generator=generator) * 20), 1).tolist()


TARGETS = {
    "none": targets_of([], []),
    "some": targets_of([[5.0, 5, 20, 30], [40, 10, 90, 60]], []),
    "tiny": targets_of([[50.0, 30, 50.45, 30.3]], [[1, 2, 30, 30]]),  # 3 pixels a side where there are 640
    "whole": targets_of([[0.0, 0, WIDTH, HEIGHT]], [[0, 0, WIDTH, HEIGHT]]),
    "crowd": targets_of(crowd(200), [[1.0, 2, 30, 30]]),  # more than places for noise, queries and cells
    "empty": targets_of([[5.0, 5, 5, 5]], [[0, 0, 0, 0]]),
}


def step(detector, targets, dtype=None, seed=0):
    """Run a training step from a seed; return the losses."""
    torch.manual_seed(seed)
    detector.zero_grad()
    images = torch.rand(2, 3, HEIGHT, WIDTH)
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        losses = detector(images, targets)
    sum(losses.values()).backward()
    return losses


def check(detector, losses):
    """All is finite, and no parameter is left out: processes that train together wait for each of them."""
    assert all(value.isfinite() and value >= 0 and value.dtype == torch.float32 for value in losses.values())
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, torch.float16])
def test_all_kinds_of_targets(kind, dtype):
    torch.manual_seed(0)
    detector = small_rtdetr(head={"queries": 60}).build(num_classes=3)
    losses = step(detector, TARGETS[kind], dtype)
    check(detector, losses)
    boxes = [value.item() for name, value in losses.items() if name.endswith(("l1", "box"))]
    assert all(value == 0 for value in boxes) if kind == "none" else all(value > 0 for value in boxes)


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_variants(variant):
    torch.manual_seed(0)
    detector = small_rtdetr(**VARIANTS[variant]).build(num_classes=3)
    for kind in ("some", "none", "crowd"):
        check(detector, step(detector, TARGETS[kind]))


def test_losses_have_names():
    names = {f"{prefix}{term}" for prefix in ("", "aux_", "proposal_", "denoised_") for term in ("class", "l1", "box")}
    assert set(step(small_rtdetr().build(num_classes=3), TARGETS["some"])) == names


@pytest.mark.parametrize("variant", ["plain", "discrete"])
def test_only_what_has_no_gradient_is_frozen(variant):
    frozen = {name for name, p in small_rtdetr(**VARIANTS[variant]).build(3).named_parameters() if not p.requires_grad}
    offsets = {f"head.layers.{layer}.cross.offsets.{kind}" for layer in range(3) for kind in ("weight", "bias")}
    assert frozen == (offsets if variant == "discrete" else set())


def test_a_batch_is_learnt_by_heart():
    torch.manual_seed(0)
    detector = small_rtdetr().build(num_classes=3)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    history = []
    for _ in range(80):
        history.append({name: value.item() for name, value in step(detector, TARGETS["some"]).items()})
        optimizer.step()
    for name in ("l1", "box", "proposal_l1", "aux_box", "denoised_l1"):
        assert history[-1][name] < 0.8 * history[0][name], name
    assert sum(history[-1].values()) < 0.5 * sum(history[0].values())


class Operations(TorchDispatchMode):
    """Counts the operators that run, with what makes them deterministic or not."""

    def __init__(self):
        super().__init__()
        self.found = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket.__name__
        if name == "scatter_reduce":
            name += f"_{args[4]}"
        elif name == "_embedding_bag":
            name += f"_mode{args[4]}"
        self.found[name] += 1
        return function(*args, **(kwargs or {}))


NONDETERMINISTIC = (
    *("grid_sampler", "upsample_linear", "upsample_bilinear", "upsample_bicubic", "upsample_trilinear", "adaptive_avg_pool"),
    *("adaptive_max_pool", "fractional_max_pool", "max_unpool", "avg_pool3d", "reflection_pad", "nll_loss", "_ctc_loss", "put"),
    *("histc", "bincount", "median", "kthvalue", "cumsum", "scatter_reduce_sum", "scatter_reduce_mean", "scatter_reduce_prod"),
    *("_embedding_bag_mode2",),
)
"""Operators that have no deterministic form on CUDA: list in the documentation of ``torch.use_deterministic_algorithms``."""
ASKING = ("_local_scalar_dense", "nonzero", "masked_select", "unique")
"""Operators that wait for the device."""


@pytest.mark.parametrize("variant", ["plain", "discrete", "dense", "hrami"])
def test_a_step_needs_nothing_that_is_not_deterministic_or_waits(variant):
    detector = small_rtdetr(**VARIANTS[variant]).build(num_classes=3)
    with Operations() as operations:
        step(detector, TARGETS["some"])
    assert not [name for name in operations.found if name.startswith(NONDETERMINISTIC)]
    assert not [name for name in operations.found if name.startswith(ASKING)]
    assert operations.found["assign"] == 1, "all layers and images are matched in one go"
    assert (
        any(name.startswith("_embedding_bag_mode") for name in operations.found) and "convolution_backward" in operations.found
    )


@pytest.mark.parametrize("variant", ["plain", "discrete", "dense", "hrami"])
def test_training_is_deterministic(variant):
    torch.manual_seed(0)
    detector = small_rtdetr(**VARIANTS[variant]).build(num_classes=3)
    before, gradients = torch.are_deterministic_algorithms_enabled(), []
    torch.use_deterministic_algorithms(True)
    try:
        for _ in range(2):
            step(detector, TARGETS["crowd"])
            gradients.append(torch.cat([p.grad.flatten() for p in detector.parameters() if p.requires_grad]))
    finally:
        torch.use_deterministic_algorithms(before)
    assert torch.equal(*gradients) and gradients[0].any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_the_matching_asks_the_device_for_values(variant):
    detector = small_rtdetr(**VARIANTS[variant]).build(num_classes=3).to("meta")  # where there are shapes, but no values
    targets = Targets(*(tensor.to("meta") for tensor in some_targets()[:3]))
    losses = detector(torch.zeros(2, 3, HEIGHT, WIDTH, dtype=torch.uint8, device="meta"), targets)
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in detector.parameters() if parameter.requires_grad)
