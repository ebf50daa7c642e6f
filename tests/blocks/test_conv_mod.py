"""Conv2Former's block as a unit."""

import pytest
import torch

from detkit.blocks.conv_mod import ConvMod
from detkit.parts import BlockSpec
from detkit.spec import SpecError, from_dict


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_context_reaches_as_far_as_the_kernel():
    block = ConvMod(kernel_size=7, expansion=None).build(8).double()
    x = torch.randn(1, 8, 15, 15, dtype=torch.float64, requires_grad=True)
    block(x)[0, :, 7, 7].sum().backward()
    seen = x.grad[0].abs().amax(0) > 0
    assert seen.nonzero().amin(0).tolist() == [4, 4] and seen.nonzero().amax(0).tolist() == [10, 10]


def test_without_feed_forward_it_is_modulation_alone():
    block = from_dict(BlockSpec, {"type": "ConvMod", "expansion": None}).build(16)
    assert {name.split(".")[0] for name in block.state_dict()} == {"modulation", "modulation_scale"}
    x = torch.randn(2, 16, 5, 7)
    assert torch.equal(block(x), x + block.modulation(x))


@pytest.mark.parametrize("channels", [16, 64, 256])
def test_a_unit_starts_near_the_identity_without_a_small_scale(channels):
    block, x = ConvMod().build(channels), torch.randn(1, channels, 12, 12)
    with torch.no_grad():
        assert (block(x) - x).std() < 0.15 * x.std()


def test_expansion_and_scale_are_used():
    block = ConvMod(expansion=1.5, layer_scale=0.1).build(16)
    assert block.feedforward.depthwise.weight.shape == (24, 1, 3, 3)
    assert block.modulation_scale.eq(0.1).all() and block.feedforward_scale.eq(0.1).all()


@pytest.mark.parametrize("wrong", [{"kernel_size": 4}, {"layer_scale": 0}, {"expansion": -1}])
def test_wrong_fields_are_refused(wrong):
    with pytest.raises(SpecError, match=next(iter(wrong))):
        ConvMod(**wrong)
