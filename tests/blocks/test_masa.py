"""MaSA against a plainly written form; the widths it takes, its tables, and RetBlock round it."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from detkit.blocks.irmb import IRMB
from detkit.blocks.masa import MaSA, MaSAOperator
from detkit.blocks.psa import PSA
from detkit.blocks.ret import RetBlock, RetBlockModule
from detkit.overrides import override
from detkit.parts import BlockSpec
from detkit.spec import from_dict, to_dict
from detkit.zoo import yolov8
from tests.networks import scrambled

both = pytest.mark.parametrize("decomposed", [True, False])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def plain(operator, x, heads, decomposed, decay=2.0, decay_range=6.0):
    """One image's operator, position by position, with pairs of channels as complex numbers; an odd channel is real."""
    channels, height, width = x.shape
    size = channels // heads
    tokens = [(i, j) for i in range(height) for j in range(width)]
    rows = x.permute(1, 2, 0).reshape(-1, channels)
    query, key, value = (F.linear(rows, layer.weight, layer.bias) for layer in (operator.query, operator.key, operator.value))
    local = operator.local(value.T.reshape(1, channels, height, width))[0].flatten(1).T
    pairs = size // 2
    speeds = [10000 ** -(pair / (pairs - 1) if pairs > 1 else 0.0) for pair in range(pairs)]
    angle = torch.tensor([[index * speed for speed in speeds] for index in range(len(tokens))], dtype=torch.float64)
    turn = torch.polar(torch.ones_like(angle), angle)
    mixed = []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        q, k = (
            torch.complex(item[:, part][:, 0 : 2 * pairs : 2], item[:, part][:, 1 : 2 * pairs : 2]) for item in (query, key)
        )
        logits = ((q * turn) @ (k * turn).mH).real + query[:, part][:, 2 * pairs :] @ key[:, part][:, 2 * pairs :].T
        logits = logits / size**0.5
        fading = math.log(1 - 2 ** -(decay + decay_range * head / heads))
        distance = torch.tensor([[abs(a - c) + abs(b - d) for c, d in tokens] for a, b in tokens], dtype=torch.float64)
        logits = logits + fading * distance
        shared = [torch.tensor([[a[axis] == b[axis] for b in tokens] for a in tokens]) for axis in (0, 1)]
        found = value[:, part]
        for within in shared if decomposed else [torch.ones_like(shared[0])]:  # rows first
            found = logits.masked_fill(~within, -torch.inf).softmax(1) @ found
        mixed.append(found)
    out = F.linear(torch.cat(mixed, 1) + local, operator.project.weight, operator.project.bias)
    return out.T.reshape(x.shape)


@both
@pytest.mark.parametrize(("channels", "heads"), [(24, 3), (24, 4), (10, 5), (9, 3), (3, 3)])
def test_equals_the_plain_form(decomposed, channels, heads):
    operator = scrambled(MaSA(heads=heads, decomposed=decomposed, decay=1.5, decay_range=5).build(channels)).double()
    assert operator.manhattan.heads == heads
    x = torch.randn(2, channels, 3, 5, dtype=torch.float64)
    for found, image in zip(operator(x), x, strict=True):
        assert torch.allclose(found, plain(operator, image, heads, decomposed, 1.5, 5), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("channels", "heads"), [(128, 8), (32, 8), (16, 8), (24, 6), (288, 8), (36, 6), (8, 4), (2, 1), (33, 3), (7, 7), (1, 1)]
)
def test_heads_are_the_most_that_give_an_even_width(channels, heads):
    operator = MaSA().build(channels).eval()
    assert operator.manhattan.heads == heads and channels % heads == 0
    assert operator(torch.rand(1, channels, 2, 3)).shape == (1, channels, 2, 3)


def test_measured_decay():
    """The first stage of RMT-T and the third, as the authors' code computes them."""
    for heads, decay_range, expected in [
        (4, 4, [-0.2877, -0.1335, -0.0645, -0.0317]),
        (8, 6, [-0.2877, -0.1609, -0.0925, -0.0540, -0.0317, -0.0188, -0.0111, -0.0066]),
    ]:
        rows = MaSA(heads=heads, decay_range=decay_range).build(64).manhattan(2, 3, torch.ones(())).rows
        assert rows.shape == (1, heads, 3, 3)
        assert torch.allclose(rows[0, :, 0, 1], torch.tensor(expected), atol=5e-5)
        assert torch.equal(rows[0, :, 2, 0], 2 * rows[0, :, 0, 1])


@both
def test_tables_are_kept_by_size_and_dtype_and_no_state(decomposed):
    operator = MaSA(decomposed=decomposed).build(16)
    assert not any("manhattan" in name for name in operator.state_dict())
    wide, high = torch.rand(1, 16, 2, 5), torch.rand(1, 16, 5, 2)
    with torch.inference_mode():
        expected = operator(wide).clone(), operator(high).clone()
    assert len(operator.manhattan.relations.kept) == 2
    operator(wide).sum().backward()  # what inference mode kept may be used in training
    assert torch.equal(operator(wide), expected[0]) and torch.equal(operator(high), expected[1])
    twin = copy.deepcopy(operator).double()
    assert not twin.manhattan.relations.kept and twin(wide.double()).dtype == torch.float64
    half = operator.manhattan(2, 5, wide.bfloat16())
    assert half.cos.dtype == half.rows.dtype == torch.bfloat16
    assert torch.equal(half.sin, operator.manhattan(2, 5, wide).sin.bfloat16())


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains(decomposed, dtype):
    block = scrambled(RetBlock(operator=MaSA(decomposed=decomposed)).build(16)).train()
    x = torch.rand(2, 16, 5, 6)
    with torch.autocast("cpu", dtype):
        found = block(x)
    assert (found - block(x)).abs().max() < 0.03 * found.abs().max()
    found.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in block.parameters())


@both
def test_one_graph(decomposed):
    torch.compiler.reset()
    block = scrambled(RetBlock(operator=MaSA(decomposed=decomposed)).build(16)).eval()
    x = torch.rand(1, 16, 3, 4)
    assert torch.allclose(torch.compile(block, fullgraph=True, backend="eager")(x), block(x), atol=1e-6)


def test_block_takes_any_operator_and_the_command_line():
    hosted = RetBlock(operator=PSA(), expansion=2)
    assert from_dict(BlockSpec, to_dict(hosted)) == hosted
    assert hosted.build(16)(torch.rand(2, 16, 4, 5)).shape == (2, 16, 4, 5)
    whole = override(RetBlock(), ["operator.decomposed=false", "operator.heads=4"])
    assert whole == RetBlock(operator=MaSA(decomposed=False, heads=4))
    block = whole.build(16)
    assert isinstance(block.operator, MaSAOperator) and block.operator.manhattan.heads == 4
    assert block.feedforward.expand.out_features == 48


def test_the_articles_uses():
    """C2f_RetBlock with 'chunk' at layers 2 and 4, 'whole' at 6 and 8; MaSA inside of iRMB."""
    whole = [f"backbone.stages.{index}.unit.operator.decomposed=false" for index in (2, 3)]
    with torch.device("meta"):
        detector = override(yolov8("n", unit=RetBlock()), whole).build(num_classes=3).eval()
        assert detector(torch.zeros(1, 3, 64, 96)).scores.shape[-1] == 3
    relations = [module.manhattan for module in detector.modules() if isinstance(module, MaSAOperator)]
    assert [relation.decomposed for relation in relations] == [True] * 3 + [False] * 3
    assert [relation.heads for relation in relations] == [8] * 6
    assert IRMB(operator=MaSA()).build(24).eval()(torch.rand(1, 24, 5, 7)).shape == (1, 24, 5, 7)


def test_block_is_the_sum_of_its_parts():
    block = scrambled(RetBlockModule(8, MaSA(heads=2).build(8), 24, layer_scale=0.5)).double()
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64)
    y = x + block.position(x)
    rows = F.layer_norm(y.permute(0, 2, 3, 1), (8,), *norm(block.operator_norm))
    y = y + block.operator(rows.permute(0, 3, 1, 2)) * factor(block.operator_scale)
    rows = F.layer_norm(y.permute(0, 2, 3, 1), (8,), *norm(block.feedforward_norm))
    wide = F.gelu(block.feedforward.expand(rows)).permute(0, 3, 1, 2)
    wide = (wide + block.feedforward.depthwise(wide)).permute(0, 2, 3, 1)
    y = y + block.feedforward.reduce(wide).permute(0, 3, 1, 2) * factor(block.feedforward_scale)
    assert torch.allclose(block(x), y, rtol=1e-10, atol=1e-12)


def norm(layer):
    """Weight, bias and the authors' eps."""
    return layer.weight, layer.bias, 1e-6


def factor(scale):
    """One number a channel, along a map's channels."""
    return scale.flatten()[:, None, None]
