import pytest
import torch
from torch.nn.functional import avg_pool2d, pixel_shuffle

from detkit.blocks.mobivari import MobiVari
from detkit.necks.hrami import HRAMi
from detkit.structures import Level
from tests.networks import scrambled, small_yolo, some_targets


def levels(*widths, finest=8):
    return [Level(width, finest << index) for index, width in enumerate(widths)]


def random_maps(given, height, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(-(-height * given[0].stride // s), -(-width * given[0].stride // s)) for _, s in given]
    return [torch.randn(2, level.channels, *size, generator=generator) for level, size in zip(given, sizes, strict=True)]


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_mix_at_rtdetrs_width():
    neck = HRAMi().build(levels(256, 256, 256))
    assert count(neck.mix) == 89_632
    assert count(neck) == 89_632 + 256, "no convolutions where widths agree, and a gate"
    assert count(HRAMi(gate=False).build(levels(256, 256, 256))) == 89_632


def test_equal_widths_follow_the_formula():
    neck = scrambled(HRAMi(gate=False).build(levels(32, 32, 32)))
    p3, p4, p5 = maps = random_maps(neck.out, 8, 12)
    mix = neck.mix.mobivari(torch.cat((p3, pixel_shuffle(p4, 2), pixel_shuffle(p5, 4)), 1))
    found = neck(maps)
    assert torch.equal(found[0], p3 * mix)
    assert found[1] is p4 and found[2] is p5


def test_other_widths_pass_convolutions_there_and_back():
    neck = scrambled(HRAMi(gate=False, mobivari=MobiVari(version=2)).build(levels(24, 32, 64)))
    assert neck.mix.mobivari.pointwise.out_channels == 32, "24 is no multiple of 16"
    assert set(dict(neck.named_parameters())) == {
        *(f"inward.{level}.{tensor}" for level in ("p3", "p5") for tensor in ("weight", "bias")),
        *(f"mix.mobivari.{conv}.{tensor}" for conv in ("expand", "depthwise", "pointwise") for tensor in ("weight", "bias")),
        *(f"outward.p3.{tensor}" for tensor in ("weight", "bias")),
    }
    p3, p4, p5 = maps = random_maps(neck.out, 8, 12)
    mix = neck.mix([neck.inward["p3"](p3), p4, neck.inward["p5"](p5)])
    assert torch.equal(neck(maps)[0], p3 * neck.outward["p3"](mix))


def test_all_levels_are_weighted_by_the_averaged_mix():
    neck = scrambled(HRAMi(gate=False, all_levels=True).build(levels(16, 16, 32)))
    p3, p4, p5 = maps = random_maps(neck.out, 8, 12)
    mix = neck.mix([p3, p4, neck.inward["p5"](p5)])
    found = neck(maps)
    assert torch.equal(found[0], p3 * mix)
    assert torch.equal(found[1], p4 * avg_pool2d(mix, 2))
    assert torch.equal(found[2], p5 * neck.outward["p5"](avg_pool2d(mix, 4)))


@pytest.mark.parametrize("all_levels", [False, True])
@pytest.mark.parametrize("given", [levels(16, 24), levels(40, 48, 64), levels(20, 20, 20, 20, finest=4)], ids=len)
@pytest.mark.parametrize("size", [(9, 13), (1, 1), (8, 16)])
def test_two_to_four_levels_at_any_size(given, all_levels, size):
    neck = scrambled(HRAMi(all_levels=all_levels).build(given))
    maps = random_maps(given, *size)
    assert [x.shape for x in neck(maps)] == [x.shape for x in maps]
    assert list(neck.out) == given and len(neck.gates) == (len(given) if all_levels else 1)


@pytest.mark.parametrize("spec", [HRAMi(), HRAMi(all_levels=True, mobivari=MobiVari(version=2))])
def test_a_detector_starts_as_it_was_and_learns(spec):
    detector = scrambled(small_yolo().build(3)).eval()
    remixed = small_yolo(remix=(spec,)).build(3).eval()
    missing = remixed.load_state_dict(detector.state_dict(), strict=False)
    assert not missing.unexpected_keys and all(key.startswith("remix.hrami.") for key in missing.missing_keys)
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for one, other in zip(detector(images)[:2], remixed(images)[:2], strict=True):
            assert torch.equal(one, other)
    optimizer = torch.optim.SGD(remixed.remix.parameters(), lr=0.1)
    for step in range(2):
        optimizer.zero_grad()
        sum(remixed(images, some_targets()).values()).backward()
        gates = remixed.remix["hrami"].gates
        assert all(gate.grad.abs().max() > 0 for gate in gates.values())
        others = [parameter for name, parameter in remixed.remix["hrami"].named_parameters() if "gates" not in name]
        assert all((parameter.grad.abs().max() > 0) == (step == 1) for parameter in others)
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_closed_gates_exact(dtype):
    neck = HRAMi(all_levels=True).build(levels(16, 24, 32))
    maps = random_maps(neck.out, 8, 8)
    with torch.autocast("cpu", dtype):
        assert all(torch.equal(x, y) for x, y in zip(neck(maps), maps, strict=True))


def test_one_graph_that_exports():
    neck = scrambled(HRAMi(all_levels=True).build(levels(16, 24, 32))).eval()
    maps = random_maps(neck.out, 7, 9)
    expected = neck(maps)
    for network in (
        torch.compile(neck, fullgraph=True, backend="aot_eager"),
        torch.export.export(neck, (maps,)).module(),
    ):
        assert all(torch.allclose(x, y, atol=1e-5) for x, y in zip(network(maps), expected, strict=True))
