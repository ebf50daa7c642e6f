"""Weights survive: what is inserted changes nothing before the first step, and what is swapped keeps the rest.

The fast tests take one small detector for each part; the published detectors, each level by itself, are slow.
"""

import re

import pytest
import torch

from detkit.backbones.emo import EMO
from detkit.backbones.repvit import RepViT
from detkit.blocks.irmb import IRMB
from detkit.blocks.psa import PSA
from detkit.heads.dense import DenseHead
from detkit.necks.hybrid import HybridEncoder
from detkit.necks.pan import PAN
from detkit.parts import Insert
from detkit.stages.c2f import C2f
from detkit.weights.load import COUNTER
from detkit.zoo.slots import changed, placed
from tests.networks import small_rtdetr, small_yolo
from tests.test_slots import BLOCKS, DETECTORS, REMIXERS, every_block, in_turn, label, product
from tests.transplants import LEVELS, PUBLISHED, Original, difference

CLASSES = 3
SMALL = {name: changed(model, after={}) for name, model in DETECTORS.items()}


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return the original of a detector by name: a small one, or a published one."""
    folder, made = tmp_path_factory.mktemp("originals"), {}

    def of(name):
        if name not in made:
            model = SMALL[name] if name in SMALL else PUBLISHED[name]()
            made[name] = Original.of(model, CLASSES, folder / f"{name}.pth")
        return made[name]

    return of


def same(original, model, side=64, inserted=LEVELS):
    """Check that nothing is lost and nothing is changed; return the new detector."""
    detector, report = original.carried_into(model, side)
    weights = [name for name in original.detector.state_dict() if not name.endswith(COUNTER)]
    assert report.found == (len(weights),) * 2 and not report.reshaped and not report.unexpected
    assert {name.split(".")[1] for name in report.initial} == set(inserted)
    images = torch.rand(2, 3, side, side + 32, generator=torch.Generator().manual_seed(2))
    assert difference(original.detector, detector, images) == 0
    return detector


@pytest.mark.parametrize(("block", "name"), product(BLOCKS, SMALL, lambda i, j: in_turn(i + 1, j)))
def test_a_block_after_every_level_changes_nothing(block, name, original):
    same(original(name), changed(SMALL[name], after=dict.fromkeys(LEVELS, block)))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("remixer", REMIXERS, ids=label)
def test_a_remixer_changes_nothing(remixer, name, original):
    same(original(name), changed(SMALL[name], remix=(remixer,)), inserted=[label(remixer).lower()])


@pytest.mark.parametrize("name", SMALL)
def test_the_difference_would_be_seen(name, original):
    """An insert without its gate, or with one that is open, changes boxes and scores."""
    one, images = original(name), torch.rand(1, 3, 64, 64)
    bare, _ = one.carried_into(changed(SMALL[name], after={"p4": Insert(block=IRMB(), gate=False)}))
    opened, _ = one.carried_into(changed(SMALL[name], after={"p4": IRMB()}))
    assert difference(one.detector, opened, images) == 0
    opened.get_parameter("after.p4.gate").data.fill_(0.5)
    for detector in (bare, opened):
        with torch.no_grad():
            pairs = zip(detector(images)[:2], one.detector(images)[:2], strict=True)
            assert all((found - expected).abs().max() > 1e-4 for found, expected in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
@every_block
def test_a_block_after_each_level_of_a_published_detector(block, name, original):
    for level in LEVELS:
        same(original(name), PUBLISHED[name](after={level: block}), side=96, inserted=[level])


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("remixer", REMIXERS, ids=label)
def test_a_remixer_of_a_published_detector(remixer, name, original):
    same(original(name), PUBLISHED[name](remix=(remixer,)), side=96, inserted=[label(remixer).lower()])


YOLO, DETR = small_yolo(top_width=32), small_rtdetr()
SPPF_READS = {f"top.sppf.reduce.{name}" for name in ("conv.weight", "norm.weight", "norm.bias")}
SPPF_READS |= {f"top.sppf.reduce.norm.running_{name}" for name in ("mean", "var")} | {"top.sppf.merge.conv.weight"}
SWAPS = {
    "backbone units": (YOLO, placed(YOLO, ["backbone", "stages", "*"], unit=PSA()), r"backbone\.stages\.\d\.body\.blocks", ()),
    "neck units": (YOLO, placed(YOLO, ["neck", "stages", "*"], unit=IRMB()), r"neck\.\w+\.p\d\.body\.blocks", ()),
    "backbone": (
        YOLO,
        changed(YOLO, backbone=RepViT(size="m0_6")),
        "backbone",
        {f"neck.top_down.{level}.body.split.conv.weight" for level in ("p3", "p4")} | SPPF_READS,
    ),
    "neck": (YOLO, changed(YOLO, neck=HybridEncoder(width=16, depth=1)), "neck", r"head\.(box|class)_branch\.p5\.first\..*"),
    "class branches": (YOLO, changed(YOLO, head=DenseHead(bins=8)), r"head\.class_branch", ()),
    "units of an RT-DETR's backbone": (
        DETR,
        placed(DETR, ["backbone"], unit=IRMB()),
        r"backbone\.stages\.\d\.blocks\.\d\.body\.second",
        (),
    ),
    "backbone of an RT-DETR": (
        DETR,
        changed(DETR, backbone=EMO(size="1m")),
        "backbone",
        {f"neck.projections.{level}.conv.weight" for level in ("p3", "p4", "p5")},
    ),
    "attention of an RT-DETR": (DETR, placed(DETR, ["neck"], intra=IRMB()), r"neck\.intra", ()),
    "neck of an RT-DETR": (DETR, changed(DETR, neck=PAN(widths=(32,) * 3, depths=(1,) * 4, stages=(C2f(),) * 4)), "neck", ()),
    "a shallower decoder": (DETR, placed(DETR, ["head"], depth=1), "none", ()),
}
"""The original, the changed one, a pattern of the roles in the slot, and the readers whose width is another."""


NEW_AS_A_WHOLE = ("backbone units", "neck units", "units of an RT-DETR's backbone", "attention of an RT-DETR")
"""Those of which the old part and the new one have no name in common."""


@pytest.mark.parametrize("case", SWAPS)
def test_a_swap_keeps_everything_else(case, tmp_path):
    before, after, slot, readers = SWAPS[case]
    one = Original.of(before, CLASSES, tmp_path / "original.pth")
    detector, report = one.carried_into(after)
    lost = {*report.initial, *report.reshaped}
    inside = {name for name in detector.state_dict() if re.match(rf"{slot}\.", name) and not name.endswith(COUNTER)}
    outside = lost - inside
    assert lost == inside or case not in NEW_AS_A_WHOLE
    assert outside == readers if isinstance(readers, set) else all(re.fullmatch(readers, name) for name in outside), outside
    assert bool(outside) == bool(readers) and all(name in report.reshaped for name in outside)
    state = detector.state_dict()
    for name, value in one.detector.state_dict().items():
        if name in report.loaded:
            assert torch.equal(state[name], value)
        else:
            assert name in lost or re.match(rf"{slot}\.|head\.(classes|boxes|layers)\.[12]", name) or name.endswith(COUNTER)
