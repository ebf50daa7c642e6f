"""The class losses of queries by value, and what every registered one must hold."""

import math

import pytest
import torch
from torch.nn import functional as F
from torchvision import ops

from detkit.losses.focal import Focal
from detkit.losses.mal import MAL
from detkit.losses.varifocal import Varifocal
from detkit.parts import ClassLossSpec
from detkit.spec import from_dict, to_dict
from tests.losses import plain_detr

PARTS = [part for part in ClassLossSpec.parts().values() if part.__module__.startswith("detkit.")]
PLAIN = {Varifocal: plain_detr.varifocal, Focal: plain_detr.focal, MAL: plain_detr.mal}
every_part = pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)


def logits(spread=3.0):
    values = torch.randn(200, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (values * spread).requires_grad_()


def qualities():
    return torch.rand(200, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def test_the_sweep_sees_the_parts():
    assert set(PLAIN) <= set(PARTS)


@pytest.mark.parametrize("part", PLAIN, ids=lambda part: part.__name__)
def test_equals_the_plain_formula(part):
    loss, x, quality = part().build(), logits(), qualities()
    score = x.detach().sigmoid().tolist()
    assert loss.absent(x).tolist() == pytest.approx([PLAIN[part](p, None) for p in score], rel=1e-9)
    expected = [PLAIN[part](p, q) for p, q in zip(score, quality.tolist(), strict=True)]
    assert loss.present(x, quality).tolist() == pytest.approx(expected, rel=1e-9)


def test_focal_equals_torchvision_with_its_gradient():
    loss, x = Focal().build(), logits()
    for found, target in ((loss.absent(x), torch.zeros_like(x)), (loss.present(x, qualities()), torch.ones_like(x))):
        expected = ops.sigmoid_focal_loss(x, target, alpha=0.25, gamma=2)
        assert torch.allclose(found, expected, rtol=1e-9)
        gradients = [torch.autograd.grad(values.sum(), x)[0] for values in (found, expected)]
        assert torch.allclose(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("part", "alpha", "gamma"), [(Varifocal, 0.75, 2), (MAL, 1, 1.5)], ids=["Varifocal", "MAL"])
def test_the_weight_of_absent_classes_takes_no_gradient(part, alpha, gamma):
    x = logits()
    (gradient,) = torch.autograd.grad(part().build().absent(x).sum(), x)
    assert torch.allclose(gradient, alpha * x.sigmoid() ** (gamma + 1), rtol=1e-9)


def test_fields_are_used():
    x, quality = logits(), qualities()
    assert torch.allclose(Varifocal(alpha=0.5, gamma=0).build().absent(x), 0.5 * F.softplus(x))
    assert torch.allclose(Focal(alpha=0.5, gamma=0).build().present(x, quality), 0.5 * F.softplus(-x))
    full = F.binary_cross_entropy_with_logits(x, quality, reduction="none")
    assert torch.allclose(MAL(gamma=1).build().present(x, quality), full)


@every_part
def test_the_best_score_of_a_present_class_is_high_where_the_box_fits(part):
    loss, x = part().build(), torch.linspace(-8, 8, 801, dtype=torch.float64)
    best = x[loss.present(x, torch.full_like(x, 0.95)).argmin()].sigmoid().item()
    assert best > 0.9
    assert (loss.absent(x).diff() > 0).all()


@every_part
def test_extreme_logits_stay_finite(part):
    loss, x = part().build(), torch.tensor([-1e4, -200, -90, 0, 90, 200, 1e4], requires_grad=True)
    for quality in (0.0, 0.5, 1.0):
        value = loss.absent(x).sum() + loss.present(x, torch.full_like(x, quality)).sum()
        assert math.isfinite(value.item())
        assert torch.autograd.grad(value, x)[0].isfinite().all()


@every_part
def test_round_trip(part):
    assert from_dict(ClassLossSpec, to_dict(part())) == part()
