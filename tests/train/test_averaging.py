import math
from types import SimpleNamespace

import torch
from lightning.pytorch import LightningModule
from torch import nn

from detkit.train.averaging import MovingAverage, move


class Small(LightningModule):
    def __init__(self):
        super().__init__()
        self.dropped = False
        self.net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def averaged(module, decay=0.9, warmup=5):
    callback = MovingAverage(decay, warmup)
    callback.setup(None, module, "fit")
    return callback


def trainer(step):
    return SimpleNamespace(global_step=step, world_size=1)


def test_the_average_follows_the_formula_buffers_included():
    module = Small()
    callback = averaged(module)
    expected = {name: value.double().clone() for name, value in module.state_dict().items()}
    for step in range(1, 6):
        with torch.no_grad():
            for value in module.parameters():
                value.add_(1)
            module.net[1].running_mean += 2
            module.net[1].num_batches_tracked += 1
        callback.on_train_batch_end(trainer(step), module, None, None, 0)
        callback.on_train_batch_end(trainer(step), module, None, None, 1)  # same optimizer step: nothing to average
        decay = 0.9 * (1 - math.exp(-step / 5))
        for name, value in module.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
    for name, value in callback._average_model.module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert value == 5
        else:
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-6, atol=1e-6)


def test_frozen_values_do_not_drift():
    live, average = nn.Linear(50, 50), nn.Linear(50, 50)
    average.load_state_dict(live.state_dict())
    for _ in range(100):
        move(average, live, 0.0123)
    assert torch.equal(average.weight, live.weight)


def test_an_exception_in_validation_puts_both_back_in_their_places():
    module = Small()
    callback = averaged(module)
    with torch.no_grad():
        module.net[0].weight.fill_(7.0)
    average = callback._average_model.module.net[0].weight.clone()
    callback.on_validation_epoch_start(trainer(1), module)
    assert torch.equal(module.net[0].weight, average)
    callback.on_exception(trainer(1), module, RuntimeError())
    assert (module.net[0].weight == 7).all()
    assert torch.equal(callback._average_model.module.net[0].weight, average)
    callback.on_exception(trainer(1), module, RuntimeError())  # in training there is nothing to put back
    assert (module.net[0].weight == 7).all()
