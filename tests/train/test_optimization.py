from copy import deepcopy

import pytest
import torch
from torch import nn

from detkit.nn.gate import Gated
from detkit.recipes import SGD, AdamW, Recipe
from detkit.spec import SpecError
from detkit.train.optimization import Course, derive
from detkit.train.roles import freeze
from detkit.train.schedule import Schedule
from tests.networks import some_targets
from tests.train.tiny import tiny_model


def course(model, batches=10, **recipe):
    settings = {"epochs": 10, "batch": 64, "warmup_epochs": 1, "warmup_steps": 1, "optimizer": SGD(), "warmup_bias_lr": 0.1}
    return Course(model, Schedule(Recipe(**(settings | recipe)), batches))


def group_of(made, parameter):
    return next(group for group in made.groups if any(parameter is other for other in group.parameters))


def test_a_short_run_gets_adamw_by_class_count_and_a_long_one_sgd():
    short = derive(Recipe(epochs=50, batch=16), images=205, classes=3)
    assert short.optimizer == AdamW(lr=0.001429)
    assert short.warmup_bias_lr == 0
    assert derive(Recipe(epochs=100), images=6400, classes=80).optimizer == AdamW(lr=0.000119)
    assert derive(Recipe(epochs=101), images=6400, classes=80).optimizer == SGD(lr=0.01, momentum=0.9)
    assert derive(Recipe(epochs=101, batch=64), images=6400, classes=80, processes=2).optimizer == AdamW(lr=0.000119)


def test_a_given_optimizer_stays_and_only_a_given_sgd_warms_biases_from_above():
    assert derive(Recipe(optimizer=SGD(lr=0.02)), 100, 3).optimizer == SGD(lr=0.02)
    assert derive(Recipe(optimizer=SGD()), 100, 3).warmup_bias_lr == 0.1
    assert derive(Recipe(optimizer=AdamW()), 100, 3).warmup_bias_lr == 0
    assert derive(Recipe(optimizer=AdamW(), warmup_bias_lr=0.05), 100, 3).warmup_bias_lr == 0.05
    assert derive(Recipe(warmup_bias_lr=0.05), 100, 3).warmup_bias_lr == 0.05


def test_weights_decay_and_norms_biases_and_gates_do_not():
    model = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "norm": nn.BatchNorm2d(4), "insert": Gated(nn.Identity(), 4)})
    made = course(model, batch=32, nominal_batch=64)
    assert group_of(made, model["conv"].weight).weight_decay == 5e-4
    for parameter in (model["conv"].bias, model["norm"].weight, model["norm"].bias, model["insert"].gate):
        assert group_of(made, parameter).weight_decay == 0
    for bias in (model["conv"].bias, model["norm"].bias):
        assert group_of(made, bias).start_lr == 0.1
    assert group_of(made, model["conv"].weight).start_lr == group_of(made, model["norm"].weight).start_lr == 0


def test_every_parameter_that_trains_is_in_one_group():
    model = tiny_model().build(num_classes=2)
    freeze(model, ["backbone"])
    grouped = [parameter for group in course(model).groups for parameter in group.parameters]
    assert {id(p) for p in grouped} == {id(p) for p in model.parameters() if p.requires_grad}
    assert len(grouped) == len({id(p) for p in grouped})


def test_the_longest_role_scales_the_learning_rate():
    model = tiny_model().build(num_classes=2)
    made = course(model, lr_scale={"backbone": 0.1, "backbone.stem": 0.5})
    assert group_of(made, first_of(model, "backbone.stem")).lr == pytest.approx(0.005)
    assert group_of(made, first_of(model, "backbone.stages")).lr == pytest.approx(0.001)
    assert group_of(made, first_of(model, "head")).lr == pytest.approx(0.01)


def first_of(model, role):
    return next(parameter for name, parameter in model.named_parameters() if name.startswith(role))


def test_an_unknown_role_is_an_error_that_suggests():
    model = tiny_model().build(num_classes=2)
    with pytest.raises(SpecError, match="recipe.lr_scale: .*'backbon'.*did you mean 'backbone'"):
        course(model, lr_scale={"backbon": 0.1})


def test_sgd_is_set_at_every_batch_and_whatever_a_checkpoint_says():
    model = nn.Conv2d(3, 4, 1)
    made = course(model)
    optimizer = made.build()
    bias, weight = optimizer.param_groups
    assert (bias["lr"], weight["lr"], weight["momentum"]) == (0.1, 0.0, 0.8)
    for group in optimizer.param_groups:
        group["weight_decay"] = 1.0
    made.apply(optimizer, 10)
    assert bias["lr"] == weight["lr"] == pytest.approx(0.01 * (1 - 0.99 / 10))
    assert (weight["momentum"], weight["weight_decay"], bias["weight_decay"]) == (0.937, 5e-4, 0)


def test_adamw_warms_its_first_beta():
    optimizer = course(nn.Conv2d(3, 4, 1), optimizer=AdamW(betas=(0.9, 0.99))).build()
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.99)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_fused_adamw_equals_the_plain_one(dtype):
    """Also on weights in channels-last order: the kernel reads tensors as they lie in memory."""
    torch.manual_seed(0)
    ours = tiny_model().build(num_classes=2).to(dtype).to(memory_format=torch.channels_last)
    theirs = deepcopy(ours)
    fused = AdamW(lr=0.01).build([{"params": list(ours.parameters()), "weight_decay": 0.1}])
    plain = torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.1, fused=False, foreach=False)
    assert fused.defaults["fused"]
    for _ in range(3):
        fused.zero_grad()
        sum(ours(torch.rand(2, 3, 64, 64), some_targets((2, 1), classes=2)).values()).backward()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert a.grad.stride() == a.stride()
            b.grad = a.grad.clone()
        fused.step()
        plain.step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_fused_adamw_leaves_unscaling_and_clipping_to_lightning():
    optimizer = AdamW().build([{"params": [nn.Parameter(torch.zeros(2))]}])
    assert not optimizer._step_supports_amp_scaling


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_adamw_on_a_gpu_is_left_as_it_is():
    assert not AdamW().build([{"params": [nn.Parameter(torch.zeros(2, device="cuda"))]}]).defaults["fused"]
