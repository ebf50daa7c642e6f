"""``trainer.sync_batchnorm=true``: what Lightning puts in place of norms keeps all that hangs on them (sums are torch's)."""

import pytest
import torch
from torch import nn

from detkit.errors import UserError
from detkit.nn.norm import FrozenNorm
from detkit.recipes import AdamW
from detkit.train.averaging import move
from detkit.train.checkpoints import SafeCheckpointIO
from detkit.train.history import History
from detkit.train.module import DetectorModule
from detkit.train.optimization import Course, derive
from detkit.train.roles import norms_below
from detkit.train.schedule import Schedule
from detkit.train.trainer import make_trainer
from tests.train.tiny import tiny_experiment, tiny_model, tiny_rtdetr

MODELS = {"yolo": tiny_model(), "rtdetr": tiny_rtdetr(norm="frozen")}


def pair(family, **recipe):
    """The module as it is built, and the same with norms exchanged."""
    experiment = tiny_experiment("data", "runs", model=MODELS[family], optimizer=AdamW(lr=1e-3), **recipe)
    experiment = experiment.model_copy(update={"recipe": derive(experiment.recipe, 20, 2)})
    torch.manual_seed(0)
    plain = DetectorModule(experiment.model.build(2), experiment, ("red", "blue"))
    synced = DetectorModule(experiment.model.build(2), experiment, ("red", "blue"))
    synced.load_state_dict(plain.state_dict())
    return plain, nn.SyncBatchNorm.convert_sync_batchnorm(synced)


def count(module, kind):
    return sum(isinstance(part, kind) for part in module.modules())


@pytest.mark.parametrize("family", MODELS)
def test_checkpoints_predictions_and_averages_do_not_change(family):
    plain, synced = pair(family)
    assert count(synced, nn.BatchNorm2d) == 0 and count(synced, nn.SyncBatchNorm) == count(plain, nn.BatchNorm2d) > 5
    assert count(synced, FrozenNorm) == count(plain, FrozenNorm)
    assert list(synced.state_dict()) == list(plain.state_dict())
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    ours, theirs = synced.eval().detector(images), plain.eval().detector(images)
    assert torch.equal(ours.boxes, theirs.boxes) and torch.equal(ours.scores, theirs.scores)
    for value in synced.parameters():
        value.data.fill_(1)
    move(plain, synced, 1.0)  # averages were copied before the exchange
    assert all((value == 1).all() for value in plain.parameters())


@pytest.mark.parametrize("family", MODELS)
def test_the_optimizers_groups_do_not_change(family):
    groups = [Course(module.detector, Schedule(module.experiment.recipe, 5)).groups for module in pair(family)]
    shapes = [[([value.shape for value in group.parameters], *group[1:]) for group in side] for side in groups]
    assert shapes[0] == shapes[1] and len(shapes[0]) > 2


def test_it_is_refused_on_a_cpu(tmp_path):
    experiment = tiny_experiment("data", "runs").model_copy(update={"trainer": {"accelerator": "cpu", "sync_batchnorm": True}})
    with pytest.raises(UserError, match=r"trainer\.sync_batchnorm: torch has it for GPUs alone"):
        make_trainer(experiment, tmp_path, History(tmp_path / "metrics.csv"), False, SafeCheckpointIO())


def test_norms_of_frozen_parts_stay_in_evaluation_mode():
    _, synced = pair("yolo", freeze=("backbone",))
    still = norms_below(synced.detector, ["backbone"]).values()
    assert len(still) > 5 and all(isinstance(norm, nn.SyncBatchNorm) for norm in still)
    synced.eval()
    synced.train()
    assert not any(norm.training for norm in still)
    assert any(part.training for part in synced.modules() if isinstance(part, nn.SyncBatchNorm))
