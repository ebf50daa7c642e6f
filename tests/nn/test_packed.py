import copy
import io

import pytest
import torch
from torch import nn

from detkit.nn.conv import ConvNorm
from detkit.nn.fuse import fuse
from detkit.nn.packed import PackedConv
from detkit.profiling.flops import count_flops

KINDS = {"identity": None, "silu": nn.SiLU(inplace=True), "relu": nn.ReLU(inplace=True), "gelu": nn.GELU()}


def packed_conv(activation=None, **options):
    torch.manual_seed(0)
    return PackedConv(nn.Conv2d(6, 4, 3, padding=1, **options), activation)


def operators(module, x):
    """Return the names of the operators that an inference runs."""
    with torch.profiler.profile() as profile, torch.inference_mode():
        module(x)
    return {event.key for event in profile.key_averages()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"groups": 2}, {"dilation": 2}, {"bias": False}], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=("nchw", "nhwc"))
def test_inference_equals_the_plain_two(kind, options, layout):
    module = packed_conv(copy.deepcopy(KINDS[kind]), **options)
    for shape in ((2, 6, 9, 7), (1, 6, 5, 5), (0, 6, 4, 4)):
        x = torch.randn(shape).contiguous(memory_format=layout)
        expected = module(x)
        with torch.no_grad():
            found = module(x)
        assert torch.allclose(found, expected, atol=1e-6)
        assert found.shape == expected.shape


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN")
def test_only_inference_on_packed_weights_runs_the_merged_operator():
    module, x = packed_conv(nn.SiLU()), torch.randn(1, 6, 8, 8)
    merged = "mkldnn::_convolution_pointwise"
    assert merged in operators(module, x)
    assert "aten::silu" not in operators(module, x)
    assert merged not in operators(module.double(), x.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert module.float()(x).dtype == torch.bfloat16
    assert module(x).requires_grad


def test_new_weights_are_packed_anew_and_copies_have_their_own():
    module, x = packed_conv(nn.ReLU()), torch.randn(1, 6, 8, 8)
    with torch.inference_mode():
        before = module(x)
        other = copy.deepcopy(module)
        stored = io.BytesIO()
        torch.save(module, stored)
    with torch.no_grad():
        module.conv.weight.mul_(2)
        assert torch.allclose(module(x), torch.relu(module.conv(x)), atol=1e-6)
        module.load_state_dict(other.state_dict())
        assert torch.equal(module(x), before)
        assert torch.allclose(other(x), before, atol=1e-6)
    stored.seek(0)
    with torch.no_grad():
        assert torch.allclose(torch.load(stored, weights_only=False)(x), before, atol=1e-6)


def test_graphs_hold_plain_operators():
    module, x = packed_conv(nn.SiLU()).eval(), torch.randn(1, 6, 8, 8)
    with torch.no_grad():
        program = torch.export.export(module, (x,))
        assert "mkldnn" not in str(program.graph)
        assert torch.allclose(program.module()(x), module(x), atol=1e-6)


def test_operations_are_counted_alike():
    module = packed_conv(nn.SiLU())
    x = torch.randn(1, 6, 8, 8)
    plain = count_flops(nn.Sequential(module.conv, nn.SiLU()), x)
    assert plain.products == 2 * 4 * 64 * 6 * 9
    assert count_flops(module, x) == plain
    assert count_flops(copy.deepcopy(module).to("meta"), x.to("meta")) == plain


def test_fusing_packs_what_convolutions_are_left():
    odd = nn.Conv2d(4, 4, 3, padding="same"), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")
    net = nn.Sequential(ConvNorm(6, 4), nn.Conv2d(4, 4, 1), *odd).eval()
    x = torch.randn(2, 6, 8, 8)
    with torch.no_grad():
        expected = net(x)
        fused = fuse(net)
        assert torch.allclose(fused(x), expected, atol=1e-5)
    assert [type(part) for part in fused] == [PackedConv, PackedConv, nn.Conv2d, nn.Conv2d]
    assert all(type(conv.conv) is nn.Conv2d for conv in fused[:2]), "packed once"
    assert isinstance(fuse(nn.Conv2d(4, 4, 1)), PackedConv)
