"""``recipe.freeze_norms``: batch norms stay as they were loaded, in averages, resumed runs and several processes too."""

import sys
from pathlib import Path

import pytest
import torch

from detkit.cli.config import load_config
from detkit.experiment import Experiment
from detkit.overrides import override
from detkit.spec import SpecError, to_dict
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from detkit.train.roles import check_model, freeze_norms, norms_below
from detkit.train.start import new_detector
from detkit.weights.checkpoint import read_checkpoint
from tests.networks import scrambled
from tests.train.launching import by_hand, launch
from tests.train.tiny import tiny_experiment, tiny_model, write_rectangles

ROOT = Path(__file__).resolve().parents[2]
NORM = (".norm.weight", ".norm.bias", ".norm.running_mean", ".norm.running_var")
PARTS = ["backbone", "neck", "head"]


@pytest.fixture(scope="module")
def state():
    return scrambled(tiny_model().build(2)).state_dict()


@pytest.fixture
def words(state, tmp_path):
    """Overrides that start from a file, with an insert that it lacks."""
    torch.save(state, tmp_path / "tiny.pth")
    return [f"init={tmp_path / 'tiny.pth'}", "model.after.p4=Bottleneck", "recipe.freeze_norms=true"]


def check(run, state):
    """Check that what was loaded into norms is there to the bit, and nothing else."""
    found = read_checkpoint(run / "last.ckpt")
    assert found.experiment["recipe"]["freeze_norms"] == PARTS
    for now in (found.live, found.weights):
        for name, value in state.items():
            if not name.endswith("num_batches_tracked"):
                assert torch.equal(now[name], value) == name.endswith(NORM), name
        assert now["after.p4.block.first.norm.running_mean"].any(), "a new norm learns"


def test_loaded_norms_stay_and_new_ones_learn(words, state, tmp_path):
    made = tiny_experiment(write_rectangles(tmp_path / "data", train=8, val=2), tmp_path / "runs", epochs=1, clip=None)
    run = fit(override(made, words), progress=False).run
    check(run, state)
    (tmp_path / "tiny.pth").unlink()
    fit(override(load_config(str(run / "config.json")), ["recipe.epochs=2"]), resume=run, progress=False)
    check(run, state)


@pytest.mark.slow
def test_two_processes(words, state, tmp_path):
    write_rectangles(tmp_path / "data", train=8, val=2)
    (tmp_path / "tiny_config.py").write_text(
        "from tests.train.tiny import tiny_experiment\n"
        f"config = tiny_experiment({str(tmp_path / 'data')!r}, {str(tmp_path)!r}, epochs=1, clip=None)\n"
    )
    command = [sys.executable, str(ROOT / "tools" / "train.py"), str(tmp_path / "tiny_config.py"), *words, "trainer.devices=2"]
    launch(*by_hand(command))
    check(tmp_path / "tiny_config" / "0", state)


def test_roles_are_taken_as_they_are_and_keep_their_mode():
    made = override(
        Experiment(model=tiny_model()), ["recipe.freeze_norms=[backbone.stages.*.downsample,neck]", "recipe.ema=none"]
    )
    detector, made, _ = new_detector(made, 2)
    recipe = made.recipe
    assert recipe.freeze_norms == ("backbone.stages.*.downsample", "neck")
    module = DetectorModule(detector, made, ("red", "blue"))
    still = norms_below(detector, recipe.freeze_norms)
    others = [norm for name, norm in norms_below(detector, ["*"]).items() if name not in still]
    module.eval()
    module.train()
    assert len(still) > 5 and not any(norm.training or norm.weight.requires_grad for norm in still.values())
    assert others and all(norm.training and norm.weight.requires_grad for norm in others)
    assert detector.get_parameter("neck.top_down.p3.body.split.conv.weight").requires_grad


def test_what_cannot_be_kept_is_told(words, tmp_path):
    with pytest.raises(SpecError, match=r"recipe\.freeze_norms: true keeps .* and init names no weights; write init=FILE"):
        check_model(override(Experiment(model=tiny_model()), ["recipe.freeze_norms=true"]))
    with pytest.raises(
        SpecError, match=r"recipe\.freeze_norms: the model has no batch norms in 'bakbone'; did you mean 'backbone'"
    ):
        check_model(override(Experiment(model=tiny_model()), ["recipe.freeze_norms=bakbone"]))
    with pytest.raises(
        SpecError, match=r"recipe\.freeze_norms: the model has no batch norms in 'head\.box_branch\.p3\.predict'"
    ):
        freeze_norms(tiny_model().build(2), ["head.box_branch.p3.predict"])
    head = {name: value for name, value in tiny_model().build(2).state_dict().items() if name.endswith("predict.bias")}
    torch.save(head, tmp_path / "tiny.pth")
    with pytest.raises(SpecError, match="it holds none that fit"):
        new_detector(override(Experiment(model=tiny_model()), words), 2)


def test_the_names_are_stored_as_roles(words):
    recipe = new_detector(override(Experiment(model=tiny_model()), words), 2).experiment.recipe
    assert to_dict(recipe)["freeze_norms"] == PARTS
