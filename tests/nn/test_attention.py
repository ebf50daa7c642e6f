"""Attention over tokens equals PyTorch's own, weights mapped one to one."""

import pytest
import torch
from torch import nn

from detkit.nn.attention import SelfAttention, feedforward
from tests.networks import scrambled

TOKENS, CHANNELS, HEADS = 7, 24, 4


@pytest.fixture(name="pair")
def _pair():
    """Our attention and PyTorch's with the same weights, float64."""
    ours = scrambled(SelfAttention(CHANNELS, HEADS)).double()
    theirs = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True).double()
    names = {"in_proj_weight": "qkv.weight", "in_proj_bias": "qkv.bias"}
    names |= {"out_proj.weight": "project.weight", "out_proj.bias": "project.bias"}
    theirs.load_state_dict({theirs: ours.state_dict()[name] for theirs, name in names.items()})
    return ours, theirs


def tokens(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(TOKENS, CHANNELS), (2, TOKENS, CHANNELS)])
def test_position_reaches_queries_and_keys_only(pair, shape):
    ours, theirs = pair
    x, position = tokens(0, 2, TOKENS, CHANNELS), tokens(1, *shape)
    expected = theirs(x + position, x + position, x, need_weights=False)[0]
    assert torch.allclose(ours(x, position), expected, rtol=1e-10, atol=1e-12)
    assert torch.allclose(ours(x), theirs(x, x, x, need_weights=False)[0], rtol=1e-10, atol=1e-12)


def test_mask_says_who_may_look_at_whom(pair):
    ours, theirs = pair
    x = tokens(0, 2, TOKENS, CHANNELS)
    masks = torch.rand(2, TOKENS, TOKENS, generator=torch.Generator().manual_seed(2)) < 0.5
    masks |= torch.eye(TOKENS, dtype=torch.bool)
    shared = theirs(x, x, x, attn_mask=~masks[0], need_weights=False)[0]
    assert torch.allclose(ours(x, mask=masks[0]), shared, rtol=1e-10, atol=1e-12)
    partial = torch.cat((masks[0, :3], torch.arange(TOKENS).expand(TOKENS - 3, -1) >= 3))  # the others see one another
    partly = theirs(x, x, x, attn_mask=~partial, need_weights=False)[0]
    assert torch.allclose(ours(x, mask=masks[0, :3]), partly, rtol=1e-10, atol=1e-12)
    each = theirs(x, x, x, attn_mask=~masks.repeat_interleave(HEADS, 0), need_weights=False)[0]
    assert torch.allclose(ours(x, mask=masks), each, rtol=1e-10, atol=1e-12)


def test_starts_as_pytorch_does():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(256, 8), nn.MultiheadAttention(256, 8)
    assert torch.isclose(ours.qkv.weight.std(), theirs.in_proj_weight.std(), rtol=0.01)
    assert torch.isclose(ours.project.weight.std(), theirs.out_proj.weight.std(), rtol=0.01)
    assert not ours.qkv.bias.any() and not ours.project.bias.any()


def test_feedforward_activates_between():
    layer = scrambled(feedforward(4, 8, nn.ReLU))
    x = torch.randn(3, 4)
    inside = (x @ layer.expand.weight.T + layer.expand.bias).clamp(min=0)
    assert torch.allclose(layer(x), inside @ layer.reduce.weight.T + layer.reduce.bias, atol=1e-6)
