import pytest
import torch

from detkit.nn.anchors import cell_centres
from detkit.nn.widths import fraction, largest_divisor


@pytest.mark.parametrize(("number", "ceiling", "divisor"), [(128, 64, 64), (288, 64, 48), (16, 64, 16), (7, 4, 1), (96, 1, 1)])
def test_largest_divisor(number, ceiling, divisor):
    assert largest_divisor(number, ceiling) == divisor


def test_fractions_are_cut_and_never_nothing():
    assert [fraction(channels, 0.25) for channels in (64, 63, 2)] == [16, 15, 1]


def test_cells_are_listed_row_by_row_level_by_level():
    maps = [torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 2)]
    centres, strides = cell_centres(maps, (8, 16))
    assert centres.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8]]
    assert strides.tolist() == [8] * 6 + [16] * 2


@pytest.mark.parametrize(
    ("given", "expected"), [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)]
)
def test_half_precision_cannot_count_pixels(given, expected):
    centres, strides = cell_centres([torch.zeros(1, 1, 1, 200, dtype=given)], (8,))
    assert centres.dtype == strides.dtype == expected
    assert centres[-1, 0] == 1596
