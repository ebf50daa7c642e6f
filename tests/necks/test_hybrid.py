"""The hybrid encoder: equal to a plain one, as large as published, at any size and number of levels."""

import pytest
import torch
from torch import nn

from detkit.blocks.aifi import AIFI
from detkit.blocks.repvgg import RepVGGBlock
from detkit.errors import UserError
from detkit.necks.hybrid import HybridEncoder
from detkit.spec import from_dict, to_dict
from detkit.stages.repc3 import RepC3
from detkit.structures import Level
from detkit.weights.rtdetr_encoder import encoder_names
from tests.necks.plain_hybrid import PlainEncoder
from tests.networks import scrambled

SHALLOW, DEEP = (128, 256, 512), (512, 1024, 2048)
HALF = RepC3(expansion=0.5)
PUBLISHED = {  # name: spec, channels of the backbone, parameters (full - backbone - decoder), fewer when merged
    "r18": (HybridEncoder(stage=HALF), SHALLOW, 20_184_464 - 11_199_968 - 4_019_376, 20_184_464 - 19_983_248),
    "r34": (HybridEncoder(stage=HALF), SHALLOW, 31_441_668 - 21_308_128 - 5_168_420, 31_441_668 - 31_240_452),
    "r50_m": (HybridEncoder(stage=HALF), DEEP, 36_593_772 - 23_474_016 - 7_466_508, 36_593_772 - 36_392_556),
    "r50": (HybridEncoder(), DEEP, 42_891_372 - 23_474_016 - 7_466_508, 42_891_372 - 42_095_724),
    "r101": (
        HybridEncoder(width=384, intra=AIFI(feedforward=2048)),
        DEEP,
        76_556_268 - 42_413_920 - 7_564_812,
        76_556_268 - 74_772_972,
    ),
    "hgnetv2_l": (HybridEncoder(), DEEP, 32_925_036 - 13_507_680 - 7_466_508, 32_925_036 - 32_129_388),
    "hgnetv2_x": (
        HybridEncoder(width=384, intra=AIFI(feedforward=2048)),
        DEEP,
        67_374_188 - 33_231_840 - 7_564_812,
        67_374_188 - 65_590_892,
    ),
    "hgnetv2_h": (
        HybridEncoder(width=512, intra=AIFI(layers=2)),
        DEEP,
        125_584_348 - 68_847_056 - 7_663_116,
        125_584_348 - 122_420_188,
    ),
}


def levels(channels, finest=8):
    return [Level(width, finest << index) for index, width in enumerate(channels)]


def maps(channels, size, finest=8, **options):
    """Random maps for an image of ``size`` (height, width)."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, c, *(-(-side // s) for side in size)) for c, s in levels(channels, finest)]
    return [torch.randn(*shape, generator=generator, **options) for shape in shapes]


@pytest.mark.parametrize(("expansion", "layers"), [(0.5, 1), (1.0, 2)])
def test_equals_a_plain_implementation(expansion, layers):
    channels = (8, 12, 20)
    plain = scrambled(PlainEncoder(channels, 32, expansion, 48, layers)).double().eval()
    spec = HybridEncoder(width=32, stage=RepC3(expansion=expansion), intra=AIFI(layers=layers, feedforward=48))
    neck = spec.build(levels(channels)).double().eval()
    state = {f"encoder.{name}": tensor for name, tensor in plain.state_dict().items()}
    names = encoder_names(state)
    neck.load_state_dict({ours.removeprefix("neck."): state[theirs] for theirs, ours in names.items()})
    inputs = maps(channels, (128, 192), dtype=torch.float64)
    for ours, theirs in zip(neck(inputs), plain(inputs), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    spec, channels, whole, merged = PUBLISHED[name]
    with torch.device("meta"):
        neck = spec.build(levels(channels))
    assert sum(parameter.numel() for parameter in neck.parameters()) == whole
    assert neck.intra.layers[0].attention.heads == 8
    units = [module for module in neck.modules() if isinstance(module, RepVGGBlock)]
    spared = sum(count(unit) - count(unit.fused()) for unit in units)
    assert len(units) == 12 and spared == merged


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (70, 33), (20, 20)])
def test_any_size(size):
    channels = (8, 12, 16)
    neck = scrambled(HybridEncoder(width=16, depth=1).build(levels(channels))).eval()
    inputs = maps(channels, size)
    before = [x.clone() for x in inputs]
    found = neck(inputs)
    assert [x.shape[2:] for x in found] == [x.shape[2:] for x in inputs]
    assert all(torch.equal(x, copy) for x, copy in zip(inputs, before, strict=True)), "the maps given are left alone"


@pytest.mark.parametrize(("number", "finest"), [(2, 16), (4, 4), (5, 2)])
def test_other_numbers_of_levels(number, finest):
    channels = tuple(8 + 4 * index for index in range(number))
    spec = HybridEncoder(levels=number, width=16, depth=1)
    assert spec.reads == tuple(finest << index for index in range(number))
    neck = spec.build(levels(channels, finest)).eval()
    assert neck.out == tuple(Level(16, stride) for stride in spec.reads)
    assert [x.shape[2:] for x in neck(maps(channels, (64, 96), finest))] == [(64 // s, 96 // s) for s in spec.reads]
    assert {name.split(".")[1] for name in neck.state_dict() if name.startswith("lateral")} == {
        f"p{n}" for n in range(7 - number, 6)
    }


def test_without_attention():
    spec = HybridEncoder(width=16, depth=1, intra=None)
    assert from_dict(HybridEncoder, to_dict(spec)) == spec
    assert not [name for name in spec.build(levels((8, 8, 8))).state_dict() if name.startswith("intra")]


def test_too_few_levels_are_told():
    with pytest.raises(UserError, match=r"HybridEncoder\.levels"):
        HybridEncoder(levels=1)


def test_compiles_to_one_graph_and_exports():
    channels = (8, 8)
    neck = scrambled(HybridEncoder(levels=2, width=8, depth=1).build(levels(channels, 16))).eval()
    compiled = torch.compile(neck, backend="aot_eager", fullgraph=True)
    for size in ((64, 64), (96, 64)):
        inputs = maps(channels, size, 16)
        for found, expected in zip(compiled(inputs), neck(inputs), strict=True):
            assert torch.allclose(found, expected, atol=1e-5)
    exported = torch.export.export(neck, (inputs,)).module()
    for found, expected in zip(exported(inputs), neck(inputs), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)
