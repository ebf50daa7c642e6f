"""Any block in any slot, any backbone and neck in any detector: what is registered is swept, new parts by themselves.

The fast tests put each part into one slot of each kind; the whole products are slow.
"""

import pytest
import torch
from torch import nn

from detkit.backbones.csp import CSPBackbone
from detkit.backbones.presnet import PResNet
from detkit.blocks.bottleneck import Bottleneck
from detkit.detectors.yolo import YOLO
from detkit.heads.branches import ConvBranch, SeparableBranch
from detkit.heads.dense import DenseHead
from detkit.necks.pan import PAN
from detkit.nn.fuse import fuse
from detkit.parts import BackboneSpec, BlockSpec, Insert, NeckSpec, StageSpec
from detkit.spec import spec_classes
from detkit.stages.c2f import C2f
from detkit.structures import Level
from detkit.zoo.slots import changed, placed
from tests.networks import scrambled, small_rtdetr, small_yolo, some_targets

CLASSES = 3


def tiny_yolov8(**slots):
    """A YOLOv8 in miniature that reads four levels, so that every level there is has its slot."""
    neck = PAN(widths=(16, 16, 16, 32), depths=(1,) * 6, stages=(C2f(unit=Bottleneck(shortcut=False)),) * 6)
    backbone = CSPBackbone(stem=8, widths=(8, 16, 16, 32), depths=(1, 1, 1, 1))
    return YOLO(**({"backbone": backbone, "neck": neck, "head": DenseHead(bins=8)} | slots))


DETECTORS = {"yolov8": tiny_yolov8(), "yolo11": small_yolo(), "rtdetr": small_rtdetr()}
LEVELS = {"yolov8": ("c2", "c3", "c4", "c5", "p2", "p3", "p4", "p5")}


def parts(family):
    """The family's own parts, with default fields, not those that tests define."""
    return [part() for part in family.parts().values() if part.__module__.startswith("detkit.")]


def slots_for_blocks(family):
    """Yield (part with default fields, the name of a field of it that takes any block)."""
    for part in parts(family):
        for name, field in type(part).model_fields.items():
            if BlockSpec in spec_classes(field.annotation):
                yield part, name


def label(value):
    return value if isinstance(value, str) else type(value).__name__


def product(kinds, others, keep):
    """Return every pair; those that ``keep(i, j)`` doesn't choose are slow."""
    for i, kind in enumerate(kinds):
        for j, other in enumerate(others):
            marks = () if keep(i, j) else (pytest.mark.slow,)
            yield pytest.param(kind, other, id=f"{label(kind)}-{label(other)}", marks=marks)


BLOCKS, BACKBONES = parts(BlockSpec), parts(BackboneSpec)
NECKS = [neck for neck in parts(NeckSpec) if neck.reads is not None]
REMIXERS = [neck for neck in parts(NeckSpec) if neck.reads is None]
HOSTS = list(slots_for_blocks(StageSpec))
NESTS = list(slots_for_blocks(BlockSpec))
every_block = pytest.mark.parametrize("block", BLOCKS, ids=label)


def in_turn(i, j):
    """Choose one detector for each part."""
    return i % len(DETECTORS) == j


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def trains(module, *inputs):
    """Check that a backward pass through a network part gives every parameter a finite gradient."""
    found = module.train()(*inputs)
    sum(x.square().sum() for x in (found if isinstance(found, list) else [found])).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    return found


def steps(detector, size=(64, 64)):
    """Check that a training step of a detector has finite losses and gives every parameter a finite gradient."""
    losses = detector.train()(torch.rand(2, 3, *size), some_targets(size=min(size), classes=CLASSES))
    assert losses and all(loss.isfinite() for loss in losses.values()), losses
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def predicts_the_same_fused(detector, size=(64, 96)):
    """Check that predictions of the fused detector equal those of the detector, whatever its weights."""
    detector = scrambled(detector).double().eval()
    images = torch.rand(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        for found, expected in zip(detector.fuse()(images)[:2], detector(images)[:2], strict=True):
            assert expected.isfinite().all()
            assert (found - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_the_sweep_sees_the_slots_and_the_parts():
    assert {(label(part), name) for part, name in HOSTS} >= {
        ("C2f", "unit"), ("C3k2", "unit"), ("C3", "unit"), ("RepC3", "unit"), ("HGBlock", "unit")
    }  # fmt: skip
    assert ("IRMB", "operator") in {(label(part), name) for part, name in NESTS}
    names = set(map(label, BLOCKS + BACKBONES + NECKS + REMIXERS))
    assert names >= {"IRMB", "RepViTBlock", "ConvMod", "RetBlock", "MaSA", "HRAMiSingle", "MobiVari", "DRAMiT"}
    assert names >= {"RMT", "RepViT", "Conv2Former", "EMO", "HybridEncoder", "PAN", "HRAMi"}


@every_block
@pytest.mark.parametrize(("host", "slot"), HOSTS, ids=map(label, [part for part, _ in HOSTS]))
def test_unit_of_a_stage(host, slot, block):
    stage = changed(host, **{slot: block}).build(24, 48, 1)
    assert trains(stage, torch.rand(2, 24, 8, 8)).shape == (2, 48, 8, 8)


@every_block
@pytest.mark.parametrize(("host", "slot"), NESTS, ids=[f"{label(part)}.{slot}" for part, slot in NESTS])
def test_operator_of_a_block(host, slot, block):
    module = scrambled(changed(host, **{slot: block}).build(32))
    assert trains(module, torch.rand(2, 32, 8, 10)).shape == (2, 32, 8, 10)
    holder, x = nn.Sequential(module.double()).eval(), torch.rand(1, 32, 5, 7, dtype=torch.float64)
    expected = holder(x)
    assert (fuse(holder)(x) - expected).abs().max() <= 1e-8 * expected.abs().max()


@every_block
def test_intra_level_block_of_the_hybrid_encoder(block):
    neck = changed(small_rtdetr().neck, intra=block).build([Level(16, 8), Level(24, 16), Level(32, 32)])
    trains(neck, [torch.rand(2, channels, size, size) for channels, size in ((16, 16), (24, 8), (32, 4))])


@every_block
@pytest.mark.parametrize("branch", [ConvBranch(), SeparableBranch()], ids=label)
def test_block_of_a_heads_branch(branch, block):
    built = changed(branch, blocks=(block,)).build(32, 16, 6)
    assert trains(built, torch.rand(2, 32, 8, 8)).shape == (2, 6, 8, 8)


@every_block
def test_unit_of_a_residual_backbone(block):
    backbone = PResNet(depths=(1, 1, 1, 1), width=16, unit=block).build([8, 16])
    trains(backbone, torch.rand(2, 3, 64, 64))


@pytest.mark.parametrize(("block", "name"), product(BLOCKS, DETECTORS, in_turn))
def test_gated_after_every_level_starts_as_the_original_to_the_bit(block, name):
    levels = LEVELS.get(name, ("c3", "c4", "c5", "p3", "p4", "p5"))
    original = DETECTORS[name].build(CLASSES)
    improved = changed(DETECTORS[name], after=dict.fromkeys(levels, block)).build(CLASSES)
    report = improved.load_state_dict(original.state_dict(), strict=False)
    assert not report.unexpected_keys and {key.split(".")[1] for key in report.missing_keys} == set(levels)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        for found, expected in zip(improved.eval()(images)[:2], original.eval()(images)[:2], strict=True):
            assert torch.equal(found, expected)


@pytest.mark.parametrize(("block", "name"), product(BLOCKS, DETECTORS, lambda i, j: in_turn(i + 1, j)))
def test_bare_after_every_level_trains(block, name):
    levels = LEVELS.get(name, ("c3", "c4", "c5", "p3", "p4", "p5"))
    bare = Insert(block=block, gate=False)
    steps(changed(DETECTORS[name], after=dict.fromkeys(levels, bare)).build(CLASSES))


@pytest.mark.slow
@pytest.mark.parametrize("slot", ["backbone.stages.*.unit", "neck.stages.*.unit", "head.box_branch", "head.class_branch"])
@every_block
def test_pieces_of_a_yolo(block, slot):
    path = slot.split(".")
    for model in (tiny_yolov8(), small_yolo()):
        spec = (
            placed(model, path, blocks=(block,)) if slot.startswith("head") else placed(model, path[:-1], **{path[-1]: block})
        )
        detector = spec.build(CLASSES)
        steps(detector)
        predicts_the_same_fused(detector)


@pytest.mark.slow
@pytest.mark.parametrize("slot", ["backbone.unit", "neck.stage.unit", "neck.intra"])
@every_block
def test_pieces_of_an_rtdetr(block, slot):
    *parent, name = slot.split(".")
    detector = placed(small_rtdetr(), parent, **{name: block}).build(CLASSES)
    steps(detector)
    predicts_the_same_fused(detector)


@pytest.mark.parametrize(("backbone", "name"), product(BACKBONES, DETECTORS, in_turn))
def test_backbone_trains_and_fuses_in_a_detector(backbone, name):
    detector = changed(DETECTORS[name], backbone=backbone).build(CLASSES)
    steps(detector)
    predicts_the_same_fused(detector)


@pytest.mark.parametrize(("backbone", "name"), product(BACKBONES, DETECTORS, lambda i, j: in_turn(i + 1, j)))
def test_backbone_takes_every_input_size_in_every_detector(backbone, name):
    with torch.device("meta"):
        detector = changed(DETECTORS[name], backbone=backbone).build(CLASSES).eval()
        for height, width in ((32, 32), (96, 32), (160, 224)):
            maps = detector.features(torch.zeros(1, 3, height, width))
            assert [tuple(x.shape[-2:]) for x in maps] == [(height // s, width // s) for s in detector.strides]


@pytest.mark.parametrize(("neck", "name"), product(NECKS, DETECTORS, lambda i, j: i != j))
def test_neck_trains_and_fuses_in_a_detector(neck, name):
    detector = changed(DETECTORS[name], neck=neck).build(CLASSES)
    steps(detector, (64, 96))
    predicts_the_same_fused(detector)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("remixer", REMIXERS, ids=label)
def test_remixer_trains_and_fuses_in_a_detector(remixer, name):
    detector = changed(DETECTORS[name], remix=(remixer,)).build(CLASSES)
    steps(detector, (64, 96))
    predicts_the_same_fused(detector)
