"""RepViT's block: widths of its squeeze, one convolution in inference, how it starts."""

import pytest
import torch
from torch import nn

from detkit.blocks.repvit import BranchedDepthwise, RepViTBlock, squeezed
from tests.networks import scrambled

SQUEEZED = {8: 8, 40: 8, 48: 16, 56: 16, 64: 16, 80: 24, 96: 24, 112: 32, 128: 32}
SQUEEZED |= {160: 40, 192: 48, 224: 56, 256: 64, 320: 80}


@pytest.mark.parametrize(("channels", "hidden"), SQUEEZED.items())
def test_squeeze_is_rounded_as_published(channels, hidden):
    assert squeezed(channels) == hidden


def test_branches_become_one_depthwise_convolution():
    mixer = scrambled(BranchedDepthwise(6)).double().eval()
    merged, x = mixer.fused(), torch.rand(2, 6, 5, 1, dtype=torch.float64)
    assert isinstance(merged, nn.Conv2d) and merged.groups == 6 and merged.kernel_size == (3, 3)
    assert torch.allclose(merged(x), mixer(x), rtol=1e-12, atol=1e-12)


def test_channel_mixer_starts_as_the_identity_and_nothing_goes_round_the_token_mixer():
    block, x = RepViTBlock(excite=False).build(8).eval(), torch.rand(2, 8, 5, 6)
    assert torch.equal(block(x), block.token_mixer(x)) and isinstance(block.excite, nn.Identity)
