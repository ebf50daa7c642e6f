import pytest
import torch

from detkit.blocks.hrami import HRAMiSingle
from detkit.blocks.mobivari import MobiVari, MobiVariBlock
from tests.networks import scrambled


@pytest.mark.parametrize(("version", "expected"), [(1, 68_352), (2, 102_204)])
def test_published_parameters(version, expected):
    block = MobiVari(version=version).build(256)
    assert sum(parameter.numel() for parameter in block.parameters()) == expected


@pytest.mark.parametrize(
    ("inputs", "groups", "width"), [(64, 4, 80), (148, 4, 180), (256, 4, 308), (30, 3, 39), (7, 1, 9), (1, 1, 2)]
)
def test_version_2_widens_past_the_multiple_at_any_width(inputs, groups, width):
    block = MobiVariBlock(inputs, version=2)
    assert block.expand.out_channels == width and block.expand.groups == groups
    assert block(torch.rand(1, inputs, 3, 5)).shape == (1, inputs, 3, 5)


@pytest.mark.parametrize("version", [1, 2])
def test_another_width_drops_the_outer_shortcut(version):
    x = torch.rand(1, 8, 4, 4)
    for outputs, residue in ((8, x), (12, torch.zeros(1, 12, 4, 4))):
        block = MobiVariBlock(8, outputs, version)
        torch.nn.init.zeros_(block.pointwise.weight)
        torch.nn.init.zeros_(block.pointwise.bias)
        assert torch.equal(block(x), residue)


def test_hrami_on_one_map_weights_the_map():
    block, x = scrambled(HRAMiSingle(mobivari=MobiVari(version=2)).build(16)), torch.rand(2, 16, 5, 7)
    assert torch.equal(block(x), x * block.mix(x))
    assert block.mix.expand is not None
