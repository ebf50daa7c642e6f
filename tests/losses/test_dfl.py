"""Distribution focal loss and the mean of a distribution."""

import math

import pytest
import torch

from detkit.losses.dfl import distribution_focal_loss, expected_distance


def test_is_the_weighted_cross_entropy_of_two_bins():
    logits = torch.randn(7, 4, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.rand(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 14.9
    log_p = logits.log_softmax(-1)
    for index in [(0, 0), (3, 2), (6, 3)]:
        y = target[index].item()
        i = int(y)
        expected = -((i + 1 - y) * log_p[index][i] + (y - i) * log_p[index][i + 1])
        assert distribution_focal_loss(logits, target)[index].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(("target", "clamped"), [(-3.0, 0.0), (15.0, 14.99), (40.0, 14.99)])
def test_targets_beyond_the_bins_are_clamped(target, clamped):
    logits = torch.randn(16, generator=torch.Generator().manual_seed(2))
    losses = [distribution_focal_loss(logits, torch.tensor(value)) for value in (target, clamped)]
    assert losses[0] == losses[1]


def test_descent_reaches_the_target_as_mean():
    logits, target = torch.zeros(4, 16, requires_grad=True), torch.tensor([0.0, 3.25, 7.5, 14.0])
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(200):
        optimizer.zero_grad()
        distribution_focal_loss(logits, target).sum().backward()
        optimizer.step()
    assert torch.allclose(expected_distance(logits.detach()), target, atol=0.05)


def test_mean_of_known_distributions():
    flat, peak = torch.zeros(16), torch.full((16,), -1e4)
    peak[9] = 0
    assert expected_distance(torch.stack((flat, peak))).tolist() == pytest.approx([7.5, 9.0])
    assert expected_distance(torch.tensor([0.0, math.log(3)])).item() == pytest.approx(0.75)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_is_lifted_and_extremes_stay_finite(dtype):
    logits = torch.randn(5, 16, generator=torch.Generator().manual_seed(3)) * 3e4
    logits = logits.clamp(-6e4, 6e4).to(dtype).requires_grad_()
    loss = distribution_focal_loss(logits, torch.tensor([0, 3.3, 8, 14.9, 99], dtype=dtype))
    loss.sum().backward()
    assert loss.dtype == expected_distance(logits).dtype == torch.float32
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()


def test_a_target_that_is_no_number_gives_a_loss_that_is_none():
    logits = torch.zeros(2, 16, requires_grad=True)
    lost, kept = distribution_focal_loss(logits, torch.tensor([torch.nan, 3.5]))
    assert lost.isnan() and kept.isfinite()
