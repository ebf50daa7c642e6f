"""AIFI's position code, its knobs, and what it keeps between sizes."""

import math

import pytest
import torch

from detkit.blocks.aifi import AIFI, position_code
from tests.networks import scrambled


def plain_code(height, width, channels):
    """The code of each row, number by number: column after column."""
    quarter = math.ceil(channels / 4)
    rows = []
    for x in range(width):
        for y in range(height):
            row = []
            for place in (x, y):
                angles = [place / 10000 ** (step / quarter) for step in range(quarter)]
                row += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
            rows.append(row[:channels])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(("height", "width", "channels"), [(4, 4, 16), (3, 5, 16), (5, 2, 10), (2, 3, 7), (1, 1, 2)])
def test_position_code_is_the_released_one(height, width, channels):
    found = position_code(height, width, channels, torch.ones((), dtype=torch.float64))
    assert found.shape == (height * width, channels)
    assert torch.allclose(found, plain_code(height, width, channels), rtol=1e-12, atol=1e-13)


def test_position_code_of_half_precision_is_computed_in_single():
    code = position_code(3, 4, 16, torch.ones((), dtype=torch.bfloat16))
    assert code.dtype == torch.float32
    assert torch.equal(code, position_code(3, 4, 16, torch.ones(())))


@pytest.mark.parametrize(("channels", "heads"), [(256, 8), (384, 8), (512, 8), (36, 6), (7, 7), (13, 1)])
def test_heads_are_the_largest_divisor_up_to_eight(channels, heads):
    block = AIFI().build(channels)
    assert block.layers[0].attention.heads == heads
    assert block.eval()(torch.rand(1, channels, 2, 3)).shape == (1, channels, 2, 3)


def test_feedforward_is_four_times_as_wide_unless_given():
    assert AIFI().build(16).layers[0].feedforward.expand.out_features == 64
    assert AIFI(feedforward=24).build(16).layers[0].feedforward.expand.out_features == 24
    assert len(AIFI(layers=3).build(16).layers) == 3


def test_trains_after_inference_and_at_other_sizes_and_dtypes():
    block = scrambled(AIFI().build(16)).eval()
    wide, high = torch.rand(1, 16, 3, 5), torch.rand(1, 16, 5, 3)
    with torch.inference_mode():
        expected = [block(wide).clone(), block(high).clone()]
    block(wide).sum().backward()
    assert torch.equal(block(wide), expected[0]) and torch.equal(block(high), expected[1])
    assert not torch.allclose(block(wide).transpose(2, 3), block(wide.transpose(2, 3)))  # the code knows the shape
    block.double()
    assert block(wide.double()).dtype == torch.float64
    assert torch.allclose(block(wide.double()).float(), expected[0], atol=1e-5)
    block.bfloat16()
    assert (block(wide.bfloat16()).float() - expected[0]).abs().max() < 0.05 * expected[0].abs().max()


def test_half_precision_autocast_is_finite():
    block = scrambled(AIFI().build(16))
    x = 1000 * torch.rand(1, 16, 4, 4)
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype):
            assert block(x).isfinite().all()


def test_residuals_stay_within_the_range_of_float16():
    torch.manual_seed(0)
    block = AIFI(feedforward=64).build(32)
    with torch.no_grad():
        block.layers[0].attention.project.bias.fill_(6e4)
        block.layers[0].feedforward.reduce.bias.fill_(6e4)
    x = (1e4 * torch.randn(2, 32, 2, 3)).half().requires_grad_()
    assert (x.amax() + 6e4).isinf()
    with torch.autocast("cpu", torch.float16):
        y = block(x)
    y.float().square().sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()
