import torch
from torch import nn

from detkit.nn.conv import ConvNorm, SeparableConv, yolo_norm
from detkit.nn.fuse import fuse
from detkit.nn.norm import FrozenNorm
from tests.networks import scrambled


def test_conv_norm_is_convolution_norm_and_silu():
    module = scrambled(ConvNorm(3, 4, 3, stride=2)).double().eval()
    x = torch.rand(2, 3, 7, 5, dtype=torch.float64)
    norm = module.norm
    y = nn.functional.conv2d(x, module.conv.weight, stride=2, padding=1)
    scale = norm.weight / (norm.running_var + 1e-3).sqrt()
    y = y * scale[:, None, None] + (norm.bias - norm.running_mean * scale)[:, None, None]
    assert torch.allclose(module(x), y * y.sigmoid(), rtol=1e-12)
    assert module(x).shape == (2, 4, 4, 3)


def test_norm_statistics_move_by_three_percent():
    module = ConvNorm(3, 4).train()
    x = torch.rand(2, 3, 4, 4)
    module(x)
    assert torch.allclose(module.norm.running_mean, 0.03 * module.conv(x).mean((0, 2, 3)), rtol=1e-4)


def test_fused_equals_and_leaves_the_original_alone():
    for activation, norm in ((nn.SiLU, yolo_norm), (None, nn.BatchNorm2d), (nn.ReLU, FrozenNorm), (nn.GELU, yolo_norm)):
        module = scrambled(ConvNorm(6, 4, 3, groups=2, activation=activation, norm=norm)).double().eval()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        x = torch.rand(2, 6, 5, 5, dtype=torch.float64)
        fused = module.fused()
        assert torch.allclose(fused(x), module(x), rtol=1e-12)
        assert not any(isinstance(part, (nn.BatchNorm2d, FrozenNorm)) for part in fused.modules())
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_fuse_walks_into_containers_and_replacements():
    class Outer(nn.Module):
        def fused(self):
            return nn.Sequential(ConvNorm(2, 2))

    module = fuse(nn.Sequential(nn.ModuleDict({"a": SeparableConv(2, 2)}), Outer()))
    assert not any(hasattr(part, "fused") or isinstance(part, nn.BatchNorm2d) for part in module.modules())
