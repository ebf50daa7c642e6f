import copy

import pytest
import torch

from detkit.blocks.dramit import DRAMiT, DRAMiTBlock, WindowAttention
from detkit.blocks.mobivari import MobiVari
from detkit.errors import UserError
from detkit.spec import SpecError
from tests.networks import scrambled


def random(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("version", "expected"), [(1, 572_238), (2, 606_090)])
def test_published_parameters(version, expected):
    block = DRAMiT(head_channels=32, mobivari=MobiVari(version=version)).build(256)
    assert (block.heads, block.channel_heads) == (8, 2)
    assert sum(parameter.numel() for parameter in block.parameters()) == expected


@pytest.mark.parametrize(
    ("channels", "heads", "channel_heads"), [(2, 2, 1), (3, 3, 1), (7, 7, 1), (16, 2, 1), (37, 37, 9), (48, 3, 1), (96, 6, 1)]
)
@torch.no_grad()
def test_every_width_has_both_kinds_of_heads(channels, heads, channel_heads):
    block = DRAMiT().build(channels)
    assert (block.heads, block.channel_heads) == (heads, channel_heads)
    assert block(torch.rand(1, channels, 5, 9)).isfinite().all()


def test_one_channel_is_a_sentence():
    with pytest.raises(UserError, match="2 channels or more"):
        DRAMiT().build(1)


def test_a_shift_is_less_than_a_window():
    with pytest.raises(SpecError, match="less than window_size"):
        DRAMiT(window_size=4, shift=4)


def plain_window(attention, query, key, value):
    """One window (D, H, W) of one head, position by position."""
    width, size = query.shape[2], attention.window_size
    query, key, value = (x.flatten(1).T for x in (query, key, value))
    out = torch.zeros_like(value)
    for i in range(len(query)):
        logits = []
        for j in range(len(key)):
            dy, dx = i // width - j // width + size - 1, i % width - j % width + size - 1
            cosine = query[i] @ key[j] / (query[i].norm() * key[j].norm())
            logits.append(cosine * attention.scale[0, 0, 0].exp() + attention.position[dy * (2 * size - 1) + dx, 0])
        out[i] = torch.stack(logits).softmax(0) @ value
    return out.T


@torch.no_grad()
def test_a_map_smaller_than_a_window_attends_to_itself_alone():
    attention = scrambled(WindowAttention(heads=1, width=3, window_size=4, shift=0)).double()
    heads = random(1, 1, 3, 3, 3, 2)
    expected = plain_window(attention, *heads[0, 0]).reshape(1, 3, 3, 2)
    assert torch.allclose(attention(heads, None), attention.project(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 13), (12, 10)])
@torch.no_grad()
def test_padding_stays_in_its_window(size):
    attention = scrambled(WindowAttention(heads=2, width=4, window_size=4, shift=0)).double()
    heads = random(2, 2, 3, 4, *size)
    whole = tuple(side // 4 * 4 for side in size)
    alone = attention(heads[..., : whole[0], : whole[1]], None)
    assert torch.allclose(attention(heads, None)[..., : whole[0], : whole[1]], alone, rtol=1e-10, atol=1e-12)


@torch.no_grad()
def test_a_shifted_window_wraps_round():
    attention = scrambled(WindowAttention(heads=2, width=4, window_size=4, shift=2)).double()
    still = WindowAttention(heads=2, width=4, window_size=4, shift=0).double()
    still.load_state_dict(attention.state_dict())
    heads = random(1, 2, 3, 4, 8, 12)
    rolled = still(heads.roll((-2, -2), (-2, -1)), None).roll((2, 2), (-2, -1))
    assert torch.allclose(attention(heads, None), rolled, rtol=1e-12)


@torch.no_grad()
def test_every_position_counts_once_where_shift_and_padding_meet():
    attention = WindowAttention(heads=1, width=2, window_size=4, shift=3).double()
    x = random(1, 1, 2, 5, 7)
    windows = attention.windows(x)
    assert windows.shape == (1, 4, 1, 16, 2)
    assert torch.equal(attention.image(windows, 5, 7), x[:, 0])
    assert (attention.windows(torch.ones_like(x)).amax((2, 3, 4)) == 1).all(), "no window is all padding"


def test_the_table_of_offsets_is_not_stored_and_follows_the_module():
    block = DRAMiT(shift=4).build(32)
    assert not [name for name in block.state_dict() if "offsets" in name]
    x = torch.rand(1, 32, 9, 6)
    with torch.inference_mode():
        expected = block(x)
    twin = copy.deepcopy(block).train()
    twin(torch.rand(1, 32, 4, 17)).sum().backward()
    assert torch.allclose(twin(x), expected, atol=1e-6)
    assert block.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_dead_maps_train_under_autocast(dtype):
    block = DRAMiT().build(16)
    for parameter in block.qkv.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.autocast("cpu", dtype):
        out = block(torch.zeros(2, 16, 9, 9))
    out.sum().backward()
    assert out.isfinite().all() and all(parameter.grad.isfinite().all() for parameter in block.parameters())


def test_one_graph():
    block, x = scrambled(DRAMiT(shift=4).build(16)).eval(), torch.rand(1, 16, 5, 11)
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x), block(x), atol=1e-5)


@torch.no_grad()
def test_helpers_weight_the_values():
    block = scrambled(DRAMiTBlock(32, heads=4)).double()
    x = random(1, 32, 8, 8)
    ones = block.attend(x, torch.ones(1, 24, 8, 8).double(), torch.ones(1, 8, 8, 8).double())
    assert all(torch.allclose(a, b) for a, b in zip(ones, block.attend(x), strict=True))
    other = block.attend(x, channel=random(1, 8, 8, 8, seed=1))
    assert torch.equal(other.channel, block.attend(x).channel) and not torch.allclose(other.spatial, block.attend(x).spatial)
