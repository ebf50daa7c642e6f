"""RepC3 and its unit, against their equations."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from detkit.blocks.bottleneck import Bottleneck
from detkit.blocks.repvgg import RepVGG
from detkit.nn.conv import ConvNorm
from detkit.nn.fuse import fuse
from detkit.stages.repc3 import RepC3
from tests.networks import scrambled


def test_repvgg_is_the_sum_of_two_convolutions_and_merges_into_one():
    block = scrambled(RepVGG().build(12)).double().eval()
    x = torch.randn(2, 12, 5, 7, dtype=torch.float64)
    expected = F.silu(block.dense.norm(block.dense.conv(x)) + block.pointwise.norm(block.pointwise.conv(x)))
    assert torch.allclose(block(x), expected)
    merged = copy.deepcopy(block).fused()
    assert type(merged.activation) is nn.SiLU and merged.conv.kernel_size == (3, 3)
    assert torch.allclose(merged(x), expected, rtol=1e-10, atol=1e-12)
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in merged.parameters())


def test_repc3_sums_its_paths():
    for expansion in (0.5, 1.0):
        stage = scrambled(RepC3(expansion=expansion).build(10, 16, depth=2)).eval()
        x = torch.randn(1, 10, 4, 6)
        main = stage.blocks[1](stage.blocks[0](stage.main(x)))
        summed = main + stage.side(x)
        assert summed.shape[1] == 16 * expansion
        assert torch.equal(stage(x), summed if expansion == 1 else stage.merge(summed))
        assert isinstance(stage.merge, ConvNorm) == (expansion != 1)


def test_norms_have_rtdetrs_figures():
    norms = [module for module in RepC3(expansion=0.5).build(8, 8, 1).modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 5 and all(norm.eps == 1e-5 and norm.momentum == 0.1 for norm in norms)


def test_hosts_other_units_and_fuses_them():
    host = nn.Sequential(scrambled(RepC3(unit=Bottleneck(), expansion=0.5).build(10, 16, depth=2))).eval()
    x = torch.randn(1, 10, 5, 5)
    expected = host(x)
    fused = fuse(host)
    assert torch.allclose(fused(x), expected, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
