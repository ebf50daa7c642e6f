"""The cache of tensors that follow from sizes."""

import copy
import pickle

import torch
from torch import nn

from detkit.nn.cached import Cached


class Scaled(nn.Module):
    """Multiplies by a cached ramp and a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.ramps = Cached(limit=2)

    def forward(self, x):
        key = (x.shape[-1], x.dtype, x.device)
        return x * self.weight * self.ramps(key, lambda: torch.arange(x.shape[-1], device=x.device, dtype=x.dtype))


def test_keeps_the_last_few_used():
    cached, made = Cached(limit=2), []
    for key in "abacab":
        assert cached(key, lambda key=key: made.append(key) or key.upper()) == key.upper()
    assert made == ["a", "b", "c", "b"]  # c drove b out, as a had been used since


def test_a_tensor_made_in_inference_mode_trains():
    module = Scaled()
    with torch.inference_mode():
        module(torch.ones(3))
    module(torch.ones(3)).sum().backward()
    assert module.weight.grad.item() == 3


def test_is_no_state_and_copies_start_empty():
    module = Scaled()
    module(torch.ones(3))
    assert list(module.state_dict()) == ["weight"]
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert not twin.ramps.kept and twin.ramps.limit == 2 and len(module.ramps.kept) == 1


def test_follows_dtype_and_size():
    module = Scaled()
    assert module(torch.ones(3)).dtype == torch.float32
    assert module.double()(torch.ones(3).double()).dtype == torch.float64
    assert module(torch.ones(5).double()).tolist() == [0, 1, 2, 3, 4]


def test_graphs_compute_it_themselves():
    module = Scaled()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    assert compiled(torch.ones(4)).tolist() == [0, 1, 2, 3]
    assert compiled(torch.ones(6)).tolist() == [0, 1, 2, 3, 4, 5]
    exported = torch.export.export(module, (torch.ones(4),)).module()
    assert exported(torch.ones(4)).tolist() == [0, 1, 2, 3] and not module.ramps.kept
