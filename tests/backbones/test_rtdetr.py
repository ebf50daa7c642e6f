"""RT-DETR's backbones: published figures, frozen norms, units, and their place in a YOLO."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.backbones.hgnetv2 import HGNetv2
from detkit.backbones.presnet import PResNet
from detkit.blocks.bottleneck import Bottleneck
from detkit.blocks.hg import HGConv, LightConv
from detkit.errors import UserError
from detkit.nn.fuse import fuse
from detkit.nn.norm import FrozenNorm
from detkit.overrides import override
from detkit.parts import DetectorSpec
from detkit.spec import from_dict, to_dict
from detkit.stages.hgblock import HGBlock
from detkit.zoo import yolo11, yolov8
from tests.networks import scrambled, some_targets

PUBLISHED = [  # parameters, of which of norms, and 10^9 multiply-adds at 224
    (PResNet(depth=18), 11_199_968, 9_856, 2.07),
    (PResNet(depth=34), 21_308_128, 17_280, 3.92),
    (PResNet(depth=50), 23_527_264, 53_248, 4.33),
    (PResNet(depth=101), 42_519_392, 105_472, 8.04),
    (HGNetv2(size="l"), 13_553_376, 45_696, 2.73),
    (HGNetv2(size="x"), 33_325_760, 93_920, 6.53),
    (HGNetv2(size="h"), 69_013_472, 166_416, 16.83),
]
CHANNELS = {18: (64, 128, 256, 512), 50: (256, 512, 1024, 2048)}
TINY = {"depths": (1, 1, 2, 1), "width": 8}
SMALL = [PResNet(**TINY), PResNet(depth=50, **TINY), HGNetv2()]
small = pytest.mark.parametrize("spec", SMALL, ids=["basic", "bottleneck", "hgnetv2"])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("spec", "parameters", "norms", "macs"), PUBLISHED)
def test_figures_are_the_published_ones(spec, parameters, norms, macs):
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        backbone = spec.build().eval()
        backbone(torch.empty(1, 3, 224, 224))
    assert count(backbone) == parameters
    assert sum(count(module) for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)) == norms
    assert round(counter.get_total_flops() / 2e9, 2) == macs


@pytest.mark.parametrize("depth", CHANNELS)
def test_widths_of_presnet(depth):
    with torch.device("meta"):
        assert tuple(level.channels for level in PResNet(depth=depth).build().out) == CHANNELS[depth]
        assert tuple(level.channels for level in PResNet(depth=depth, width=16).build([8, 32]).out) == (
            CHANNELS[depth][1] // 4,
            CHANNELS[depth][3] // 4,
        )


@small
@pytest.mark.parametrize("size", [(1, 1), (31, 95), (47, 34)])
def test_odd_sizes_are_rounded_up_at_every_level(spec, size):
    backbone = spec.build().eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, *size))
    for level, x in zip(backbone.out, maps, strict=True):
        assert x.shape == (1, level.channels, *(-(-side // level.stride) for side in size)) and x.isfinite().all()


@small
def test_frozen_differs_in_nothing_but_what_learns(spec):
    frozen = type(spec)(**(dict(spec) | {"norm": "frozen"}))
    with torch.device("meta"):
        batch, frozen = spec.build(), frozen.build()
    assert list(frozen.state_dict()) == [name for name in batch.state_dict() if not name.endswith("num_batches_tracked")]
    assert not any("norm" in name for name, _ in frozen.named_parameters())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    assert {name for name, parameter in frozen.named_parameters() if not parameter.requires_grad} == {
        name for name, _ in frozen.named_parameters() if name.startswith("stem.")
    }
    assert all(parameter.requires_grad for parameter in batch.parameters())


@small
def test_frozen_equals_the_evaluated_batch_norm_even_in_training(spec):
    batch = scrambled(spec.build()).double().eval()
    frozen = type(spec)(**(dict(spec) | {"norm": "frozen"})).build().double().train()
    frozen.load_state_dict({name: batch.state_dict()[name] for name in frozen.state_dict()})
    x = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    for expected, found in zip(batch(x), frozen(x), strict=True):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-12)


@small
@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_fused_equals(spec, norm):
    backbone = scrambled(type(spec)(**(dict(spec) | {"norm": norm})).build()).double().eval()
    x = torch.rand(1, 3, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        expected, fused = backbone(x), fuse(copy.deepcopy(backbone))
        for a, b in zip(expected, fused(x), strict=True):
            assert (a - b).abs().max() < 1e-9 * a.abs().max()
    assert not any(isinstance(module, (nn.BatchNorm2d, FrozenNorm)) for module in fused.modules())


@small
def test_one_graph(spec):
    torch.compiler.reset()
    backbone = scrambled(spec.build()).eval()
    x = torch.rand(1, 3, 32, 32)
    expected = backbone(x)
    found = torch.compile(backbone, fullgraph=True, backend="eager")(x)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@small
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains(spec, dtype):
    backbone = spec.build([16]).train()
    with torch.autocast("cpu", dtype):
        loss = backbone(torch.rand(2, 3, 32, 32))[0].float().square().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in backbone.parameters())


def test_initial_weights_are_the_official_ones():
    hgnet = HGNetv2().build([4])
    wide = hgnet.stages[0].blocks[0].units[4].conv.weight
    assert abs(wide.std() / (2 / wide[0].numel()) ** 0.5 - 1) < 0.03  # Kaiming normal
    own = HGBlock(unit=Bottleneck()).build(32, 128, 1)[0].units[0].first.conv.weight
    assert abs(own.std() * (3 * own[0].numel()) ** 0.5 - 1) < 0.05  # an article's block keeps its own: PyTorch's
    plain = PResNet().build([4]).stages[0].blocks[1].body.first.conv.weight
    assert abs(plain.std() * (3 * plain[0].numel()) ** 0.5 - 1) < 0.03
    for norm in (hgnet.stem.reduce.norm, PResNet().build([4]).stem.first.norm):
        assert (norm.eps, norm.momentum) == (1e-5, 0.1)


def test_units_of_presnet_stand_where_the_stride_is_one():
    basic = PResNet(unit=Bottleneck(), **TINY).build()
    assert all(hasattr(block.body.second, "shortcut") for stage in basic.stages for block in stage.blocks)
    bottleneck = PResNet(depth=50, unit=Bottleneck(), **TINY).build()
    replaced = [[hasattr(block.body.second, "shortcut") for block in stage.blocks] for stage in bottleneck.stages]
    assert replaced == [[True], [False], [False, True], [False]]
    maps = bottleneck(torch.rand(2, 3, 64, 64))
    assert [x.shape[1] for x in maps] == [level.channels for level in bottleneck.out]


def test_units_of_hgnet_are_layers_two_to_six():
    spec = override(yolov8("n", backbone=HGNetv2()), ["backbone.unit=Bottleneck"]).backbone
    assert spec == HGNetv2(unit=Bottleneck())
    with torch.device("meta"):
        reference, backbone = HGNetv2().build(), spec.build()
    names = {".".join(name.split(".")[:6]) for name in set(reference.state_dict()) ^ set(backbone.state_dict())}
    assert names and all(name.split(".")[4] == "units" for name in names)
    assert len(backbone.stages[3].blocks[0].units) == 5


def test_the_layer_of_a_hosts_blocks_is_its_units_too():
    stage = HGBlock(layer=LightConv(kernel_size=7), layers=3).build(16, 32, 2)
    kernels = [unit.depthwise.conv.kernel_size for block in stage for unit in (block.first, *block.units)]
    assert kernels == [(7, 7)] * 6
    assert [block.shortcut for block in stage] == [False, True]
    assert HGBlock(layer=HGConv(norm="frozen")).build(16, 32, 1)[0].squeeze.norm.__class__ is FrozenNorm


def test_the_stem_of_hgnet_looks_right_and_down_only():
    stem = HGNetv2().build([4]).stem.double().eval()
    x = torch.rand(1, 32, 9, 9, dtype=torch.float64, requires_grad=True)
    y = stem.widen(stem.pad(stem.narrow(stem.pad(x))))
    assert y.shape[-2:] == x.shape[-2:]
    y[0, :, 4, 4].sum().backward()
    rows, columns = x.grad[0].abs().sum(0).nonzero().unbind(1)
    assert rows.min() == columns.min() == 4 and rows.max() == columns.max() == 6


@pytest.mark.parametrize("backbone", [PResNet(depth=50), HGNetv2(size="h", norm="frozen")])
@pytest.mark.parametrize("reference", [yolov8, yolo11])
def test_reference_yolos_take_them(reference, backbone):
    spec = reference("n", backbone=backbone)
    assert from_dict(DetectorSpec, to_dict(spec)) == spec
    with torch.device("meta"):
        detector = spec.build(num_classes=80)
        assert detector.neck.out == reference("n").build(num_classes=80).neck.out
        assert detector.eval()(torch.empty(1, 3, 64, 96)).boxes.shape == (1, 126, 4)


@small
@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_a_yolo_trains_a_step_and_fuses(spec, norm):
    detector = yolov8("n", backbone=type(spec)(**(dict(spec) | {"norm": norm}))).build(num_classes=3).train()
    before = {name: parameter.detach().clone() for name, parameter in detector.named_parameters()}
    optimizer = torch.optim.SGD([parameter for parameter in detector.parameters() if parameter.requires_grad], lr=1e-3)
    images = torch.rand(2, 3, 64, 64)
    sum(detector(images, some_targets((3, 0))).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in detector.parameters() if parameter.requires_grad)
    optimizer.step()
    for name, parameter in detector.backbone.stem.named_parameters():
        assert torch.equal(parameter, before[f"backbone.stem.{name}"]) == (norm == "frozen"), name
    detector.eval()
    with torch.no_grad():
        expected, fused = detector(images), detector.fuse()(images)
    assert (fused.boxes - expected.boxes).abs().max() < 1e-4 * expected.boxes.abs().max()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PResNet(depth=152), r"PResNet\.depth"),
        (lambda: PResNet(width=7), r"width.*multiple of 2"),
        (lambda: PResNet(depths=(1, 1, 1)), r"PResNet\.depths"),
        (lambda: HGNetv2(size="s"), r"HGNetv2\.size"),
        (lambda: HGNetv2(norm="froze"), r"HGNetv2\.norm"),
    ],
)
def test_wrong_fields_are_sentences(build, message):
    with pytest.raises(UserError, match=message):
        build()
