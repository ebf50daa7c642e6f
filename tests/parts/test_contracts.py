"""Every registered part holds its family's contract: a thin sweep over `detkit.checks`, one test a part and case."""

import pytest

from detkit.backbones.presnet import PResNet
from detkit.backbones.timm_backbone import TimmBackbone
from detkit.checks.case import examine, promise, title
from detkit.checks.contracts import CONTRACTS, contract
from detkit.detectors.rtdetr import RTDETR
from detkit.detectors.yolo import YOLO
from detkit.heads.rtdetr import RTDETRHead
from detkit.necks.hybrid import HybridEncoder
from detkit.parts import BackboneSpec, DetectorSpec, HeadSpec, NeckSpec
from detkit.spec import noun
from tests.networks import small_rtdetr, small_yolo

SMALL = {
    RTDETR: small_rtdetr(),
    YOLO: small_yolo(),
    PResNet: PResNet(depths=(1, 1, 1, 1), width=16),
    TimmBackbone: TimmBackbone(name="test_resnet"),
    HybridEncoder: HybridEncoder(width=32),
    RTDETRHead: RTDETRHead(width=32, heads=4, feedforward=64, depth=2, queries=20, denoising=10),
}
"""Parts whose defaults are large; their size decides nothing."""
LARGE = (BackboneSpec, NeckSpec, HeadSpec, DetectorSpec)
SLOW = {"compiles", "exports", "takes float16 autocast"}
"""Cases that take seconds for large networks; tests/detectors compiles and exports small ones of them in the fast tests."""
NORM_APART = {"Conv2Former", "TimmBackbone"}
"""Parts with a batch norm that follows no convolution, so that it can't be folded; and timm's, which we don't touch."""


def own_parts(family):
    """The family's own parts, not those that tests define."""
    return [part for part in family.parts().values() if part.__module__.startswith("detkit.")]


def cases():
    for family in CONTRACTS:
        held_to = contract(family)
        for part in own_parts(family):
            for case in (*held_to.cases, *held_to.slow):
                slow = case in held_to.slow or (family in LARGE and title(case) in SLOW)
                name = f"{noun(family)}-{part.__name__}-{title(case)}".replace(" ", "_")
                yield pytest.param(part, case, id=name, marks=pytest.mark.slow if slow else ())


def test_the_sweep_sees_the_parts():
    names = {part.__name__ for family in CONTRACTS for part in own_parts(family)}
    old = {"Bottleneck", "C3k", "PSA", "C2f", "C3", "C3k2", "SPPF", "C2PSA", "Nearest", "ConvDown", "SeparableBranch"}
    new = {"IRMB", "ConvMod", "RepViTBlock", "RetBlock", "RMT", "RepViT", "Conv2Former", "EMO", "HRAMi", "WIoU", "Hungarian"}
    assert old | new <= names


@pytest.mark.parametrize(("part", "case"), cases())
def test_part_holds_its_contract(part, case):
    spec = SMALL.get(part) or part()
    finding = examine(case, contract(part.family()).subject(spec))
    told = "\n".join(filter(None, (promise(case), finding.text, finding.advice, finding.place)))
    assert finding.outcome != "broke", told
    if title(case) == "fuses" and part.__name__ not in NORM_APART:
        assert not finding.text, f"{told}: name it in NORM_APART, where that is meant"
