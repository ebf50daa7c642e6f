import subprocess
import sys

import pytest
import torch
from torch import nn

from detkit.backbones.presnet import PResNet
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.parts import BlockSpec
from detkit.recipes import Recipe
from detkit.spec import SpecError
from detkit.train.roles import check_model, check_roles, freeze, norms_below
from detkit.zoo import yolo11, yolov8
from tests.train.tiny import tiny_model, tiny_rtdetr


def model():
    stages = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), nn.BatchNorm2d(4), *[nn.Conv2d(4, 4, 1)] * 9)
    return nn.ModuleDict({"backbone": nn.ModuleDict({"stages": stages}), "head": nn.Conv2d(4, 2, 1)})


def test_a_role_freezes_all_below_it_and_names_its_norms():
    net = model()
    freeze(net, ["backbone.stages.0"])
    assert norms_below(net, ["backbone.stages.0"]) == [net["backbone"]["stages"][0][1]]
    frozen = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in net.named_parameters() if name.startswith("backbone.stages.0.")}


def test_a_role_is_a_whole_word():
    net = model()
    freeze(net, ["backbone.stages.1"])
    assert all(p.requires_grad for name, p in net.named_parameters() if name.startswith("backbone.stages.10"))


def test_a_parameter_is_a_role_too():
    net = model()
    freeze(net, ["head.bias"])
    assert norms_below(net, ["head.bias"]) == []
    assert net["head"].weight.requires_grad
    assert not net["head"].bias.requires_grad


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
