"""Counts worked out by hand."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from detkit.nn.conv import ConvNorm
from detkit.nn.fuse import fuse
from detkit.profiling.flops import Flops, count_flops, flops_by_role, total
from tests.networks import small_rtdetr, small_yolo


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def counted(function, *shapes):
    with torch.device("meta"):
        return count_flops(function if isinstance(function, nn.Module) else Function(function), *map(torch.empty, shapes))


def conv(*arguments, **fields):
    with torch.device("meta"):
        return nn.Conv2d(*arguments, **fields)


def test_a_convolution_is_two_operations_a_multiply_accumulate():
    assert counted(conv(4, 8, 3, stride=2, padding=1), (2, 4, 10, 6)) == Flops(products=2 * (2 * 8 * 5 * 3) * (4 * 3 * 3))
    assert counted(conv(6, 6, 5, padding=2, groups=6), (1, 6, 7, 7)) == Flops(products=2 * (6 * 7 * 7) * 25)


def test_a_linear_layer():
    with torch.device("meta"):
        assert counted(nn.Linear(12, 20), (3, 7, 12)) == Flops(products=2 * 3 * 7 * 12 * 20)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attention(device):
    query, key, value = (torch.rand(2, 3, length, 16, device=device) for length in (5, 9, 9))
    found = count_flops(Function(F.scaled_dot_product_attention), query, key, value)
    assert found.products == 2 * (2 * 3) * (5 * 9 * 16) * 2 and not found.uncounted


def test_batch_norm_is_an_operation_an_element_apart_from_the_rest():
    with torch.device("meta"):
        norm = nn.BatchNorm2d(8)
    assert counted(norm, (2, 8, 5, 5)).norms == 400
    assert counted(norm.eval(), (2, 8, 5, 5)) == Flops(norms=400)


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        (F.hardswish, (2, 3), 6),
        (F.silu, (2, 3, 4), 24),
        (lambda x: x + x, (2, 3, 4), 24),
        (lambda x: x.softmax(-1), (2, 3, 4), 24),
        (lambda x: x.mean(-1), (2, 3, 4), 24),
        (lambda x: F.max_pool2d(x, 5, 1, 2), (1, 3, 8, 8), 3 * 64 * 25),
        (lambda x: F.avg_pool2d(x, (2, 3)), (1, 3, 8, 9), 3 * 4 * 3 * 6),
        (lambda x: F.adaptive_avg_pool2d(x, 1), (1, 3, 8, 8), 192),
        (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (1, 3, 4, 4), 4 * 3 * 64),
        (lambda x: F.embedding_bag(torch.zeros(2, 5, device="meta", dtype=torch.int), x), (30, 8), 2 * 2 * 5 * 8),
    ],
    ids=["hardswish", "silu", "add", "softmax", "mean", "max_pool", "avg_pool", "adaptive", "bilinear", "bag"],
)
def test_element_wise_work(function, shape, expected):
    assert counted(function, shape) == Flops(elementwise=expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.flatten(2).mT.contiguous(),
        lambda x: torch.cat((x, x.roll(1, -1)), 1).half(),
        lambda x: F.pad(x, (1, 1)).chunk(2, 1),
        lambda x: F.interpolate(F.pixel_shuffle(x, 2), scale_factor=2),
        lambda x: (torch.arange(9, device=x.device), torch.zeros_like(x)),
    ],
)
def test_moving_and_creating_cost_nothing(function):
    assert counted(function, (1, 4, 6, 6)) == Flops()


def test_what_has_no_formula_is_named():
    found = counted(lambda x: x.topk(3).values.sort().values * 2, (5, 9))
    assert found == Flops(elementwise=15, uncounted=frozenset({"topk", "sort"}))


def test_fusing_folds_the_norm_away():
    with torch.device("meta"):
        whole = nn.Sequential(ConvNorm(4, 8, 3)).eval()
    assert counted(whole, (1, 4, 6, 6)) == Flops(2 * 8 * 36 * 36, elementwise=8 * 36, norms=8 * 36)
    assert counted(fuse(whole), (1, 4, 6, 6)) == Flops(2 * 8 * 36 * 36, elementwise=8 * 36)


def test_roles_hold_their_own_share_and_add_up():
    with torch.device("meta"):
        inner = nn.Sequential(OrderedDict(first=nn.Conv2d(4, 4, 1), act=nn.ReLU()))
        module = nn.Sequential(OrderedDict(body=inner, twice=Function(lambda x: x * 2)))
    with torch.device("meta"):
        roles = flops_by_role(module, torch.empty(1, 4, 2, 2))
    assert roles == {"body.first": Flops(128), "body.act": Flops(elementwise=16), "twice": Flops(elementwise=16)}
    assert total(roles) == counted(module, (1, 4, 2, 2))


@pytest.mark.parametrize("spec", [small_yolo(), small_rtdetr()], ids=["yolo", "rtdetr"])
def test_products_of_whole_detectors_are_pytorchs_own_count(spec):
    with torch.device("meta"):
        detector = spec.build(num_classes=3).fuse()
        with FlopCounterMode(display=False) as counter:
            detector(torch.empty(1, 3, 64, 96))
        found = count_flops(detector, torch.empty(1, 3, 64, 96))
    assert found.products == counter.get_total_flops()
    assert found.uncounted <= {"topk"}


def test_no_hook_stays_behind_even_after_an_error():
    module = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(RuntimeError):
        count_flops(module, torch.zeros(1, 5))
    assert not any(child._forward_hooks or child._forward_pre_hooks for child in module.modules())
