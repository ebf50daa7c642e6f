"""The frozen batch norm: torchvision's, but half precision stays half, and no map is kept."""

import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detkit.nn.norm import FrozenNorm
from tests.networks import scrambled


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_equals_torchvisions_and_batch_norm_in_evaluation(dtype):
    batch = scrambled(nn.BatchNorm2d(5)).to(dtype).eval()
    x = torch.rand(2, 5, 3, 4, dtype=dtype)
    for frozen in (FrozenNorm(5), FrozenBatchNorm2d(5)):
        frozen.to(dtype).load_state_dict(batch.state_dict())  # its count of batches is no weight
        assert list(frozen.parameters()) == []
        torch.testing.assert_close(frozen.train()(x), batch(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_half_under_autocast(dtype):
    frozen = scrambled(FrozenNorm(4))
    x = torch.rand(2, 4, 3, 3)
    with torch.autocast("cpu", dtype=dtype):
        y = frozen(x.to(dtype))
    assert y.dtype == dtype
    torch.testing.assert_close(y.float(), frozen(x), rtol=0, atol=4 * torch.finfo(dtype).eps * frozen(x).abs().max().item())


def test_it_keeps_no_map_for_the_backward_pass():
    kept = []
    x = torch.rand(2, 4, 3, 3, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.shape) or tensor, lambda tensor: tensor):
        FrozenNorm(4)(x).sum().backward()
    assert x.shape not in kept
