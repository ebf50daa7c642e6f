"""What every registered block, stage, resampler, branch, backbone and neck must hold, swept over all of them."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from detkit.nn.fuse import fuse
from detkit.parts import BackboneSpec, BlockSpec, BranchSpec, DownsampleSpec, NeckSpec, StageSpec, UpsampleSpec
from detkit.spec import from_dict, to_dict
from detkit.structures import Level
from tests.networks import scrambled

CHANNELS = 32
SIZES = [(8, 8), (7, 13), (1, 1), (20, 4)]


def parts(family):
    """The family's own parts, not those that tests define."""
    return [part for part in family.parts().values() if part.__module__.startswith("detkit.")]


def cases():
    """Yield (part, a function that builds it, its outputs, how sizes change) for every part that maps a map to a map."""
    for part in parts(BlockSpec):
        yield part, partial(part().build, CHANNELS), CHANNELS, lambda n: n
    for part in parts(StageSpec):
        yield part, partial(part().build, CHANNELS, 48, 2), 48, lambda n: n
    for part in parts(UpsampleSpec):
        yield part, partial(part().build, CHANNELS), CHANNELS, lambda n: 2 * n
    for part in parts(DownsampleSpec):
        yield part, partial(part().build, CHANNELS, 48), 48, lambda n: -(-n // 2)
    for part in parts(BranchSpec):
        yield part, partial(part().build, CHANNELS, 24, 10), 10, lambda n: n


CASES = list(cases())
every_part = pytest.mark.parametrize(
    ("part", "build", "outputs", "resized"), CASES, ids=[f"{case[0].family().__name__}-{case[0].__name__}" for case in CASES]
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_the_sweep_sees_the_parts():
    names = {case[0].__name__ for case in CASES}
    assert {"Bottleneck", "C3k", "PSA", "C2f", "C3", "C3k2", "SPPF", "C2PSA", "Nearest", "ConvDown", "SeparableBranch"} <= names


@every_part
def test_shape_at_any_size_in_one_life(part, build, outputs, resized):
    module = build().eval()
    for height, width in SIZES:
        assert module(torch.rand(2, CHANNELS, height, width)).shape == (2, outputs, resized(height), resized(width))


@every_part
def test_one_image_trains_and_every_parameter_gets_a_finite_gradient(part, build, outputs, resized):
    module = scrambled(build()).train()
    x = torch.rand(1, CHANNELS, 8, 8, requires_grad=True)
    module(x).square().sum().backward()
    assert x.grad.isfinite().all()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@every_part
def test_an_image_does_not_depend_on_its_batch(part, build, outputs, resized):
    module = scrambled(build()).double().eval()
    x = torch.rand(3, CHANNELS, 6, 9, dtype=torch.float64)
    assert torch.allclose(module(x)[1:2], module(x[1:2]), rtol=1e-10, atol=1e-12)


@every_part
def test_copies_are_equal_and_separate(part, build, outputs, resized):
    module, x = scrambled(build()).eval(), torch.rand(1, CHANNELS, 8, 8)
    before, twin = module(x), copy.deepcopy(module)
    assert torch.equal(twin(x), before)
    scrambled(twin, seed=1)
    assert torch.equal(module(x), before)


@every_part
def test_stored_form_gives_an_equal_spec(part, build, outputs, resized):
    assert from_dict(part.family(), to_dict(part())) == part()


@every_part
def test_bfloat16_autocast_stays_near(part, build, outputs, resized):
    module, x = scrambled(build()).train(), torch.rand(2, CHANNELS, 8, 8)
    exact = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = module(x)
    assert (rough - exact).abs().max() < 0.05 * exact.abs().max()


@every_part
def test_fused_equals(part, build, outputs, resized):
    host = nn.Sequential(scrambled(build())).eval()
    x = torch.rand(2, CHANNELS, 8, 9)
    expected = host(x)
    fused = fuse(copy.deepcopy(host))
    assert (fused(x) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert not any(isinstance(inner, nn.BatchNorm2d) for inner in fused.modules())


@every_part
def test_channels_last_gives_the_same(part, build, outputs, resized):
    module, x = scrambled(build()).eval(), torch.rand(2, CHANNELS, 8, 9)
    expected = module(x)
    found = module.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


@every_part
def test_exports(part, build, outputs, resized):
    module, x = scrambled(build()).eval(), torch.rand(2, CHANNELS, 8, 8)
    exported = torch.export.export(module, (x,)).module()
    assert torch.allclose(exported(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("part", parts(BackboneSpec), ids=lambda part: part.__name__)
@pytest.mark.parametrize("size", [(64, 96), (33, 70)])
def test_backbone_gives_what_it_declares(part, size):
    spec = part()
    assert from_dict(BackboneSpec, to_dict(spec)) == spec
    backbone = spec.build().eval()
    maps = backbone(torch.rand(1, 3, *size))
    for level, x in zip(backbone.out, maps, strict=True):
        assert x.shape == (1, level.channels, *(-(-side // level.stride) for side in size))
    assert [level.stride for level in backbone.out] == sorted(level.stride for level in backbone.out)


@pytest.mark.parametrize("part", parts(BackboneSpec), ids=lambda part: part.__name__)
def test_backbone_builds_the_levels_asked_for_and_nothing_beyond(part):
    whole = part().build()
    strides = [level.stride for level in whole.out]
    for wanted in ([strides[0]], strides[:-1], strides[1:]):
        backbone = part().build(wanted)
        assert [level.stride for level in backbone.out] == wanted
        backbone.train()
        sum(x.square().sum() for x in backbone(torch.rand(2, 3, 64, 64))).backward()
        assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("part", parts(NeckSpec), ids=lambda part: part.__name__)
@pytest.mark.parametrize("size", [(64, 96), (33, 70)])
def test_neck_gives_what_it_declares(part, size):
    spec = part()
    assert from_dict(NeckSpec, to_dict(spec)) == spec
    levels = [Level(16 + 8 * i, stride) for i, stride in enumerate(spec.reads or (8, 16, 32))]
    neck = spec.build(levels).train()
    maps = neck([torch.rand(2, c, *(-(-side // s) for side in size)) for c, s in levels])
    for level, x in zip(neck.out, maps, strict=True):
        assert x.shape == (2, level.channels, *(-(-side // level.stride) for side in size))
    sum(x.square().sum() for x in maps).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in neck.parameters())
