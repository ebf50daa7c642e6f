"""Tensors of another shape: left alone, or given what both have."""

import pytest
import torch

from detkit.heads.dense import DenseHead
from detkit.weights import load_weights
from detkit.weights.overlap import overlapped, overlaps
from tests.networks import scrambled, small_yolo

A, B = slice(None), slice


@pytest.mark.parametrize(
    ("own", "other", "here", "there"),
    [
        ((6,), (4,), (B(4),), (A,)),
        ((4,), (6,), (A,), (B(4),)),
        ((4, 8), (6, 4), (A, B(4)), (B(4), A)),
        ((4, 3, 3, 3), (8, 3, 3, 3), (A,), (B(4),)),
        ((8, 4, 1, 1), (4, 8, 1, 1), (B(4), A), (A, B(4))),
        ((8, 1, 3, 3), (6, 1, 5, 5), (B(6),), (A, A, B(1, 4), B(1, 4))),  # the middle of a kernel
        ((2, 2, 7, 7), (2, 2, 3, 3), (A, A, B(2, 5), B(2, 5)), (A,)),
    ],
)
def test_what_both_have_is_copied_and_the_rest_stays(own, other, here, there):
    ours, theirs = torch.rand(own), 2 + torch.rand(other)
    expected = ours.clone()
    expected[here] = theirs[there]
    found = overlapped(ours, theirs.half())
    assert found.dtype == torch.float32 and torch.allclose(found, expected, rtol=1e-3)
    assert (ours < 1).all(), "the tensor itself is not written to"


def test_only_values_of_as_many_axes_overlap():
    assert overlaps(torch.zeros(3), torch.zeros(4))
    assert not overlaps(torch.zeros(3), torch.zeros(3, 4))
    assert not overlaps(torch.zeros(3, dtype=torch.long), torch.zeros(4, dtype=torch.long)), "an index table"


def wider(spec):
    backbone = spec.backbone
    widths = {"stem": backbone.stem + 4, "widths": tuple(width + 8 for width in backbone.widths)}
    return spec.model_copy(update={"backbone": backbone.model_copy(update=widths)})


@pytest.mark.parametrize("shrink", [False, True])
def test_a_network_of_another_width_takes_leading_channels(shrink):
    narrow, wide = small_yolo(), wider(small_yolo())
    source, target = (wide, narrow) if shrink else (narrow, wide)
    state = scrambled(source.build(3)).state_dict()
    plain, mixed = target.build(3), target.build(3)
    mixed.load_state_dict(plain.state_dict())
    without, report = load_weights(plain, state), load_weights(mixed, state, overlap=True)
    assert without.reshaped and not without.overlapped
    assert report.overlapped == without.reshaped and not report.reshaped and report.share == without.share < 1
    assert report.parts["backbone"].overlapped == without.parts["backbone"].reshaped > 20
    for name, value in mixed.state_dict().items():
        if name not in report.overlapped:
            assert torch.equal(value, plain.state_dict()[name]), name
            continue
        common = tuple(slice(min(sizes)) for sizes in zip(value.shape, state[name].shape, strict=True))  # kernels are equal
        expected = plain.state_dict()[name].clone()
        expected[common] = state[name][common]
        assert torch.equal(value, expected), name
    assert {"backbone.stem.norm.running_var", "backbone.stem.norm.weight"} <= set(report.overlapped)


def test_rows_of_other_classes_are_not_overlapped():
    state = scrambled(small_yolo().build(5)).state_dict()
    report = load_weights(small_yolo().build(3), state, overlap=True)
    rows = {name for name in state if name.startswith("head.class_branch.") and ".predict." in name}
    assert rows and rows == set(report.reshaped) and not report.overlapped


def test_a_table_that_differs_in_bins_is_overlapped_in_its_layer_alone():
    state = scrambled(small_yolo(head=DenseHead(bins=4)).build(3)).state_dict()
    report = load_weights(small_yolo(head=DenseHead(bins=8)).build(3), state, overlap=True)
    assert report.overlapped and all(name.startswith("head.box_branch.") for name in report.overlapped)
