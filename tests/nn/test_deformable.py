import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from detkit.nn.deformable import DeformableAttention, PointGrid, read_bilinear, read_nearest

SHAPES, STRIDES, POINTS = ((8, 12), (4, 6), (2, 3)), (8, 16, 32), (4, 2, 3)


def scene(dtype=torch.float64, batch=2, queries=5, heads=3, width=4, reach=0.4, seed=0):
    """Values, points (some beyond the border), weights and grid."""
    generator = torch.Generator().manual_seed(seed)
    cells = sum(height * columns for height, columns in SHAPES)
    values = torch.randn(batch, cells, heads, width, generator=generator, dtype=dtype)
    points = torch.rand(batch, queries, heads, sum(POINTS), 2, generator=generator, dtype=dtype) * (1 + 2 * reach) - reach
    weights = torch.rand(batch, queries, heads, sum(POINTS), generator=generator, dtype=dtype)
    return values, points, weights, PointGrid.of(SHAPES, STRIDES, POINTS, values.device)


def with_grid_sample(values, points, weights):
    """The same by PyTorch's own sampling, level by level."""
    batch, _, heads, width = values.shape
    queries, first, start, total = points.shape[1], 0, 0, 0
    for (height, columns), count in zip(SHAPES, POINTS, strict=True):
        cells = values[:, start : start + height * columns]
        plane = cells.permute(0, 2, 3, 1).reshape(batch * heads, width, height, columns)
        where = points[:, :, :, first : first + count].transpose(1, 2).reshape(batch * heads, queries, count, 2)
        read = F.grid_sample(plane, 2 * where - 1, mode="bilinear", padding_mode="zeros", align_corners=False)
        share = weights[:, :, :, first : first + count].transpose(1, 2).reshape(batch * heads, 1, queries, count)
        total = total + (read * share).sum(-1).reshape(batch, heads * width, queries).mT
        first, start = first + count, start + height * columns
    return total


def test_bilinear_reading_equals_grid_sample_with_gradients():
    values, points, weights, grid = scene()
    leaves = [x.requires_grad_() for x in (values, points, weights)]
    found, expected = read_bilinear(values, points, weights, grid), with_grid_sample(values, points, weights)
    assert torch.allclose(found, expected, rtol=1e-10, atol=1e-12)
    seed = torch.randn_like(found)
    for ours, theirs in zip(torch.autograd.grad(found, leaves, seed), torch.autograd.grad(expected, leaves, seed), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-10)


def test_bilinear_reading_passes_gradcheck():
    values, points, weights, grid = scene(batch=1, queries=2, heads=1, width=2)
    inputs = [x.requires_grad_() for x in (values, points, weights)]
    assert gradcheck(lambda *given: read_bilinear(*given, grid), inputs)


def test_points_that_are_no_numbers_give_no_numbers_and_no_crash():
    values, points, weights, grid = scene()
    points[0, 0] = torch.nan
    points[1, 1] = torch.inf
    points[1, 2] = -1e30
    found = read_bilinear(values, points, weights, grid)
    assert found[0, 0].isnan().all() and found[0, 1:].isfinite().all() and (found[1, 2] == 0).all()


def test_nearest_reading_takes_one_cell_a_point():
    values, points, weights, grid = scene(reach=0.2)
    found = read_nearest(values, points, weights, grid)
    expected = torch.zeros_like(found).unflatten(-1, (3, 4))
    levels = [level for level, count in enumerate(POINTS) for _ in range(count)]
    starts = [0, 96, 120]
    for b in range(2):
        for q in range(5):
            for h in range(3):
                for p, level in enumerate(levels):
                    height, columns = SHAPES[level]
                    x = min(max(int(torch.floor(points[b, q, h, p, 0] * columns + 0.5)), 0), columns - 1)
                    y = min(max(int(torch.floor(points[b, q, h, p, 1] * height + 0.5)), 0), height - 1)
                    expected[b, q, h] += weights[b, q, h, p] * values[b, starts[level] + y * columns + x, h]
    assert torch.allclose(found, expected.flatten(2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    values, points, weights, grid = scene(dtype)
    found = read_bilinear(values, points, weights, grid)
    assert found.dtype == torch.float32
    assert torch.allclose(found, read_bilinear(values.float(), points.float(), weights.float(), grid))


def test_a_fresh_attention_looks_in_a_direction_for_each_head():
    attention = DeformableAttention(32, 4, (2, 2))
    offsets = attention.offsets.bias.reshape(4, 4, 2)
    assert torch.allclose(offsets[0], torch.tensor([[1.0, 0.0], [2.0, 0.0]] * 2))
    assert torch.allclose(offsets[1], torch.tensor([[0.0, 1.0], [0.0, 2.0]] * 2), atol=1e-6)
    assert attention.weights.weight.abs().max() == 0


def test_points_move_with_the_box_and_scale_with_it():
    torch.manual_seed(0)
    attention = DeformableAttention(8, 2, (1,)).double()
    with torch.no_grad():
        attention.value.weight.copy_(torch.eye(8))
        attention.output.weight.copy_(torch.eye(8))
    columns = torch.arange(20.0).double().repeat(20)  # each cell's value is its column
    cells = columns[None, :, None].expand(1, -1, 8)
    grid = PointGrid.of([(20, 20)], (8,), (1,), cells.device)
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.25, 0.5, 0.4, 0.2]]]).double()
    found = attention(torch.zeros(1, 2, 8).double(), boxes, cells, grid)
    # head 0 looks to the right by half a width, head 1 to the left; column = 20 x - 0.5
    assert torch.allclose(found[0, :, 0], torch.tensor([20 * 0.6 - 0.5, 20 * 0.45 - 0.5]).double())
    assert torch.allclose(found[0, :, 4], torch.tensor([20 * 0.4 - 0.5, 20 * 0.05 - 0.5]).double())


def test_training_is_deterministic_when_asked_for():
    values, points, weights, grid = (x.float() if isinstance(x, torch.Tensor) else x for x in scene())
    torch.use_deterministic_algorithms(True)
    try:
        read_bilinear(values.requires_grad_(), points.requires_grad_(), weights, grid).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


def test_a_place_is_the_same_on_every_level_where_coarse_maps_cover_more():
    """An input of 9 cells of 8 pixels: 5 cells of 16 cover 80 pixels; each cell's value is its centre in pixels."""
    columns = [(torch.arange(count) + 0.5) * stride for count, stride in ((9, 8.0), (5, 16.0))]
    values = torch.cat([column.repeat(len(column)) for column in columns]).double()[None, :, None, None]
    grid = PointGrid.of([(9, 9), (5, 5)], (8, 16), (1, 1), values.device)
    points = torch.tensor([0.5, 0.5]).double().expand(1, 1, 1, 2, 2)
    for weights in ((1.0, 0.0), (0.0, 1.0)):
        assert read_bilinear(values, points, torch.tensor(weights).double()[None, None, None], grid).item() == pytest.approx(36)
