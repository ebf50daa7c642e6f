import subprocess
import sys

import pytest
import torch
from torch import nn

from detkit.backbones.presnet import PResNet
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.overrides import override
from detkit.parts import BlockSpec
from detkit.recipes import Recipe
from detkit.spec import SpecError
from detkit.train.roles import below, check_model, check_roles, closest, covering, freeze, norms_below
from detkit.zoo import yolo11, yolov8
from tests.train.tiny import tiny_model, tiny_rtdetr


def model():
    stages = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), nn.BatchNorm2d(4), *[nn.Conv2d(4, 4, 1)] * 9)
    return nn.ModuleDict({"backbone": nn.ModuleDict({"stages": stages}), "head": nn.Conv2d(4, 2, 1)})


def test_a_role_freezes_all_below_it_and_names_its_norms():
    net = model()
    freeze(net, ["backbone.stages.0"])
    assert norms_below(net, ["backbone.stages.0"]) == {"backbone.stages.0.1": net["backbone"]["stages"][0][1]}
    frozen = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in net.named_parameters() if name.startswith("backbone.stages.0.")}


def test_a_role_is_a_whole_word():
    net = model()
    freeze(net, ["backbone.stages.1"])
    assert all(p.requires_grad for name, p in net.named_parameters() if name.startswith("backbone.stages.10"))


def test_a_parameter_is_a_role_too():
    net = model()
    freeze(net, ["head.bias"])
    assert norms_below(net, ["head.bias"]) == {}
    assert net["head"].weight.requires_grad
    assert not net["head"].bias.requires_grad


@pytest.mark.parametrize(
    ("name", "role", "expected"),
    [
        ("backbone.stages.0.conv", "backbone", True),
        ("backbone.stages.0.conv", "backbone.stages.*.conv", True),
        ("backbone.stages.0.conv", "*.stages", True),
        ("backbone.stages.0.conv", "backbone.*.conv", False),
        ("backbone.stages.0", "backbone.stages.*.conv", False),
        ("backbone2.stages", "backbone", False),
    ],
)
def test_a_star_is_one_word(name, role, expected):
    assert below(name, role) == expected


def test_the_role_that_says_most_is_the_closest():
    roles = ["backbone", "backbone.*", "backbone.stages.0", "backbone.stages.*"]
    assert closest("backbone.stages.0.conv", roles) == "backbone.stages.0"
    assert closest("backbone.stages.10.conv", roles) == "backbone.stages.*"
    assert closest("backbone.stem", roles) == "backbone.*"
    assert closest("head", roles) is None


def test_stages_are_frozen_from_the_command_line():
    words = "recipe.freeze=[backbone.stages.*.downsample,backbone.stem]"
    made = override(Experiment(model=tiny_model()), [words])
    assert made == override(made, ['recipe.freeze=["backbone.stages.*.downsample", "backbone.stem"]'])
    detector = made.model.build(2)
    freeze(detector, made.recipe.freeze)
    frozen = {name for name, parameter in detector.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        name for name, _ in detector.named_parameters() if "backbone.stem." in name or ("backbone" in name and "downs" in name)
    }
    assert any(".3.downsample." in name for name in frozen)


@pytest.mark.parametrize(
    ("chosen", "roles"),
    [
        ("a.x a.y.1 a.y.2 b.z c", ["a", "b", "c"]),
        ("a.x a.y.1 a.y.2", ["a"]),
        ("a.y.1 a.y.2 c", ["a.y", "c"]),
        ("a.x a.y.2", ["a.x", "a.y.2"]),
        ("", []),
    ],
)
def test_names_become_the_fewest_roles(chosen, roles):
    assert covering(set(chosen.split()), ["a.x", "a.y.1", "a.y.2", "b.z", "c"]) == roles


def test_an_unknown_role_suggests_its_siblings():
    with pytest.raises(SpecError, match=r"recipe.freeze: .*'backbone.stage.0'.*did you mean 'backbone.stages.0'"):
        freeze(model(), ["backbone.stage.0"])
    with pytest.raises(SpecError, match="did you mean 'head'"):
        check_roles(model(), ["heads"], "recipe.lr_scale")


def test_something_must_be_left_to_train():
    with pytest.raises(SpecError, match="nothing is left to train"):
        freeze(model(), ["backbone", "head"])


class Reading(BlockSpec):
    """Reads a tensor while it is built."""

    def build(self, channels):
        return nn.Conv2d(channels, channels, int(torch.linspace(0, 1, 3)[-1].item()))


READING = tiny_model().model_copy(update={"after": {"c5": Reading()}})


@pytest.mark.parametrize("detector", [yolov8("n"), yolo11("n"), tiny_model(), READING])
def test_every_detector_is_checked_without_drawing_a_number(detector):
    before = torch.get_rng_state()
    check_model(Experiment(model=detector, recipe=Recipe(freeze=("backbone",), lr_scale={"neck": 0.1})))
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_norms_without_weights_are_refused_in_both_spellings():
    frozen = tiny_model().model_copy(update={"backbone": PResNet(width=4, norm="frozen")})
    for model in (frozen, tiny_rtdetr(norm="frozen")):
        both = r'frozen batch norm .*norm="batch" in the config \(model\.backbone\.norm=batch on the command line\).* in init'
        with pytest.raises(UserError, match=f"^backbone.stem.first.norm is a {both}"):
            check_model(Experiment(model=model))
        check_model(Experiment(model=model, init="weights.pth"))


def test_checking_a_model_needs_no_lightning():
    code = "import sys, detkit.train.roles; sys.exit('lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
