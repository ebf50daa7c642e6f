"""iRMB: what attends to what, widths, slots, fusing; its figures are in tests/golden/test_emo.py."""

import pytest
import torch
from torch import nn

from detkit.blocks.irmb import IRMB, GridAttention, IRMBBlock
from detkit.nn.fuse import fuse
from detkit.parts import BlockSpec
from detkit.zoo import yolov8
from tests.networks import scrambled


class Tripled(nn.Module):
    def forward(self, x):
        return 3 * x


class Triple(BlockSpec):
    """An operator that tells the width it was built for."""

    def build(self, channels: int) -> nn.Module:
        module = Tripled()
        module.channels = channels
        return module


@pytest.mark.parametrize(("scale", "total"), [("n", 2_783_904), ("m", 20_951_632), ("x", 52_944_768)])
def test_definition_a_has_as_many_parameters_as_public_code(scale, total):
    with torch.device("meta"):
        detector = yolov8(scale, unit=IRMB(head_channels=16)).build(num_classes=80)
    assert sum(parameter.numel() for parameter in detector.parameters()) == total - 16  # there, fixed values are counted


@torch.no_grad()
def test_attention_is_among_positions_a_fixed_distance_apart():
    """Written plainly, group by group, with zeros on the right and below that take part."""
    torch.manual_seed(0)
    attention, values = GridAttention(6, heads=2, size=3, bias=True).double(), nn.Conv2d(6, 8, 1).double()
    x = torch.rand(1, 6, 8, 4, dtype=torch.float64)
    filled = torch.zeros(1, 6, 9, 6, dtype=torch.float64)
    filled[..., :8, :4] = x
    query, key = attention.query_key(filled)[0].split(6)
    value = values(filled)[0]
    expected = torch.zeros_like(value)
    rows, columns = 3, 2  # groups in each direction, so the distance between positions of one
    for row in range(rows):
        for column in range(columns):
            for head in range(2):
                q, k = (item[3 * head : 3 * head + 3, row::rows, column::columns].reshape(3, 9) for item in (query, key))
                v = value[4 * head : 4 * head + 4, row::rows, column::columns].reshape(4, 9)
                mixed = v @ (q.T @ k / 3**0.5).softmax(1).T
                expected[4 * head : 4 * head + 4, row::rows, column::columns] = mixed.reshape(4, 3, 3)
    assert torch.allclose(attention(x, values)[0], expected[:, :8, :4], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("spec", "channels", "heads", "width"),
    [
        (IRMB(), 288, 6, 288),
        (IRMB(), 17, 1, 17),
        (IRMB(head_channels=8, expansion=1.3), 24, 3, 30),
        (IRMB(head_channels=8, expansion=1.3, attention_first=True), 24, 3, 31),
        (IRMB(head_channels=8, expansion=0.01), 24, 3, 3),
    ],
)
def test_any_width_divides_into_heads(spec, channels, heads, width):
    block = spec.build(channels)
    assert block.mixer.heads == heads and block.project.in_channels == width
    assert block(torch.rand(2, channels, 5, 9)).shape == (2, channels, 5, 9)


@pytest.mark.parametrize("first", [True, False])
@torch.no_grad()
def test_an_operator_takes_the_place_of_the_attention(first):
    block = scrambled(IRMB(operator=Triple(), attention_first=first, expansion=2).build(8)).eval()
    assert block.mixer.channels == (8 if first else 16)
    x = torch.rand(2, 8, 5, 6)
    y = block.norm(x)
    values = block.expand(3 * y) if first else 3 * block.expand(y)
    assert torch.allclose(block(x), x + block.project(values + block.depthwise(values)))


@torch.no_grad()
def test_shortcuts_are_dropped_where_the_shape_changes():
    assert IRMBBlock(8, 16).shortcut
    block = IRMBBlock(8, 16, stride=2, outputs=12).eval()
    x = torch.rand(1, 8, 7, 5)
    y = block(x)
    assert y.shape == (1, 12, 4, 3) and not block.shortcut
    assert torch.equal(y, block.project(block.depthwise(block.expand(block.norm(x)))))


@pytest.mark.parametrize(
    "build",
    [
        lambda: IRMB().build(8),
        lambda: IRMB(operator=Triple()).build(8),
        lambda: IRMB(operator=Triple(), attention_first=True).build(8),
        lambda: IRMBBlock(8, 16, bias=True),
        lambda: IRMBBlock(8, None),
    ],
    ids=["attention", "operator", "operator first", "no mixer", "no values"],
)
@torch.no_grad()
def test_fused_equals_whoever_reads_the_norm(build):
    host, x = nn.Sequential(scrambled(build())).double().eval(), torch.rand(2, 8, 9, 5, dtype=torch.float64)
    expected = host(x)
    twice = fuse(fuse(host))
    assert torch.allclose(twice(x), expected, rtol=1e-10, atol=1e-12)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in host.modules())
