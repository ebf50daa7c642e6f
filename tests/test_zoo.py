import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from detkit.backbones.csp import CSPBackbone
from detkit.backbones.hgnetv2 import HGNetv2
from detkit.backbones.presnet import PResNet
from detkit.blocks.aifi import AIFI
from detkit.blocks.bottleneck import Bottleneck
from detkit.blocks.psa import PSA
from detkit.detectors.rtdetr import RTDETR
from detkit.errors import UserError
from detkit.heads.branches import ConvBranch
from detkit.heads.dense import DenseHead
from detkit.heads.rtdetr import RTDETRHead
from detkit.losses.ciou import CIoU
from detkit.losses.detection import DetectionCriterion
from detkit.losses.detr import DETRCriterion
from detkit.losses.giou import GIoU
from detkit.losses.mal import MAL
from detkit.necks.hrami import HRAMi
from detkit.necks.hybrid import HybridEncoder
from detkit.necks.pan import PAN
from detkit.overrides import override
from detkit.parts import DetectorSpec, DownsampleSpec, UpsampleSpec
from detkit.spec import from_dict, to_dict
from detkit.stages.repc3 import RepC3
from detkit.stages.sppf import SPPF
from detkit.zoo import rtdetr, yolo11, yolov8
from detkit.zoo.rtdetr import RTDETRSlots

PARAMETERS = {
    yolov8: {"n": 3_157_184, "s": 11_166_544, "m": 25_902_624, "l": 43_691_504, "x": 68_229_632},
    yolo11: {"n": 2_624_064, "s": 9_458_736, "m": 20_114_672, "l": 25_372_144, "x": 56_966_160},
}
RTDETR_COSTS = {  # parameters in all, of the backbone, of the decoder; GFLOPs at 640 pixels, fused
    "r18": (20_184_464, 11_199_968, 4_019_376, 60.3),
    "r34": (31_441_668, 21_308_128, 5_168_420, 92.3),
    "r50_m": (36_593_772, 23_474_016, 7_466_508, 99.3),
    "r50": (42_891_372, 23_474_016, 7_466_508, 133.3),
    "r101": (76_556_268, 42_413_920, 7_564_812, 251.1),
    "hgnetv2_l": (32_925_036, 13_507_680, 7_466_508, 107.2),
    "hgnetv2_x": (67_374_188, 33_231_840, 7_564_812, 226.5),
    "hgnetv2_h": (125_584_348, 68_847_056, 7_663_116, 475.7),
}
CASES = [(reference, scale, count) for reference, counts in PARAMETERS.items() for scale, count in counts.items()]


class Bilinear(UpsampleSpec):
    def build(self, channels):
        return torch.nn.Upsample(scale_factor=2, mode="bilinear")


class Pooling(DownsampleSpec):
    def build(self, inputs, outputs):
        return torch.nn.Sequential(torch.nn.MaxPool2d(2, ceil_mode=True), torch.nn.Conv2d(inputs, outputs, 1))


def trainable(module):
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(("reference", "scale", "count"), CASES)
def test_parameters_are_the_published_ones(reference, scale, count):
    with torch.device("meta"):
        assert trainable(reference(scale).build(num_classes=80)) == count


@pytest.mark.parametrize("size", RTDETR_COSTS)
def test_costs_of_rtdetr_are_the_published_ones(size):
    total, backbone, decoder, gflops = RTDETR_COSTS[size]
    with torch.device("meta"):
        detector = rtdetr(size).build(num_classes=80)
        counts = [sum(p.numel() for p in part.parameters()) for part in (detector, detector.backbone, detector.head)]
        assert counts == [total, backbone, decoder]
        with FlopCounterMode(display=False) as counter:
            detector.fuse()(torch.empty(1, 3, 640, 640))
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflops, rel=0.01)


@pytest.mark.parametrize("size", RTDETR_COSTS)
def test_specs_of_rtdetr_round_trip(size):
    assert from_dict(DetectorSpec, to_dict(rtdetr(size))) == rtdetr(size)


@pytest.mark.parametrize(("reference", "scale", "count"), CASES)
def test_specs_round_trip(reference, scale, count):
    assert from_dict(DetectorSpec, to_dict(reference(scale))) == reference(scale)


@pytest.mark.parametrize("reference", [yolov8, yolo11])
def test_units_of_every_stage_from_the_command_line_and_by_slot(reference):
    changed = override(reference("n"), ["backbone.stages.*.unit=PSA"])
    assert changed == reference("n", unit=PSA())
    assert changed.backbone.stages == tuple(
        stage.model_copy(update={"unit": PSA()}) for stage in reference("n").backbone.stages
    )
    assert changed.neck == reference("n").neck
    assert reference("n", neck_unit=PSA()).backbone == reference("n").backbone
    assert all(stage.unit == PSA() for stage in reference("n", neck_unit=PSA()).neck.stages)
    with torch.device("meta"):
        detector = changed.build(num_classes=80)
    assert all(hasattr(stage.body.blocks[0], "attention") for stage in detector.backbone.stages)


def test_every_slot_reaches_its_place():
    detector = yolo11(
        "n",
        top=(),
        upsample=Bilinear(),
        downsample=Pooling(),
        after={"p3": PSA()},
        remix=(),
        box_branch=ConvBranch(blocks=(PSA(),)),
        class_branch=ConvBranch(),
        box_loss=GIoU(),
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 2.0, 3.0),
    )
    assert detector.top == () and detector.after == {"p3": PSA()} and detector.mean == (0.1, 0.2, 0.3)
    assert detector.neck.upsample == Bilinear()
    assert detector.neck.downsample == detector.backbone.downsample == Pooling()
    assert detector.head == DenseHead(box_branch=ConvBranch(blocks=(PSA(),)), class_branch=ConvBranch())
    assert detector.criterion == DetectionCriterion(box_loss=GIoU())
    assert detector.build(num_classes=2).eval()(torch.rand(1, 3, 64, 64)).scores.shape == (1, 84, 2)


PIECES_OF_RTDETR = {
    "backbone_unit": PSA(),
    "norm": "batch",
    "top": (SPPF(),),
    "unit": Bottleneck(),
    "intra": AIFI(layers=2),
    "upsample": Bilinear(),
    "downsample": Pooling(),
    "after": {"p3": PSA()},
    "remix": (HRAMi(),),
    "depth": 2,
    "queries": 50,
    "points": (4, 2, 1),
    "eval_layer": 1,
    "class_loss": MAL(),
    "box_loss": CIoU(),
    "mean": (0.1, 0.2, 0.3),
    "std": (1.0, 2.0, 3.0),
}
PARTS_OF_RTDETR = {
    "backbone": HGNetv2(),
    "neck": HybridEncoder(width=128),
    "head": RTDETRHead(depth=1),
    "criterion": DETRCriterion(l1_gain=1.0),
}


def test_every_piece_of_rtdetr_reaches_its_place():
    spec = rtdetr("r50", **PIECES_OF_RTDETR)
    assert spec == RTDETR(
        backbone=PResNet(depth=50, norm="batch", unit=PSA()),
        top=(SPPF(),),
        neck=HybridEncoder(stage=RepC3(unit=Bottleneck()), intra=AIFI(layers=2), upsample=Bilinear(), downsample=Pooling()),
        after={"p3": PSA()},
        remix=(HRAMi(),),
        head=RTDETRHead(depth=2, queries=50, points=(4, 2, 1), eval_layer=1),
        criterion=DETRCriterion(class_loss=MAL(), box_loss=CIoU()),
        mean=(0.1, 0.2, 0.3),
        std=(1.0, 2.0, 3.0),
    )
    with torch.device("meta"):
        predictions = spec.build(num_classes=2).eval()(torch.empty(1, 3, 64, 96))
    assert predictions.boxes.shape == (1, 50, 4) and predictions.scores.shape == (1, 50, 2)


def test_every_part_of_rtdetr_is_replaced():
    assert set(PIECES_OF_RTDETR) | set(PARTS_OF_RTDETR) == set(RTDETRSlots.__annotations__)
    spec = rtdetr("r18", **PARTS_OF_RTDETR)
    assert spec == RTDETR(**PARTS_OF_RTDETR)
    with torch.device("meta"):
        assert spec.build(num_classes=2).eval()(torch.empty(1, 3, 64, 96)).boxes.shape == (1, 126, 4)


def test_sizes_of_rtdetr_differ_where_they_were_published_to():
    assert rtdetr("r18") == RTDETR()
    assert rtdetr("r34") == rtdetr("r18", backbone=PResNet(depth=34), head=RTDETRHead(depth=4))
    assert rtdetr("r50") == RTDETR(backbone=PResNet(depth=50, norm="frozen"), neck=HybridEncoder(), head=RTDETRHead())
    assert rtdetr("r50_m", eval_layer=None).neck == rtdetr("r18").neck and rtdetr("r50_m").head.eval_layer == 3
    assert rtdetr("hgnetv2_x") == rtdetr("r101", backbone=HGNetv2(size="x", norm="frozen"))
    assert rtdetr("hgnetv2_h").neck == HybridEncoder(width=512, intra=AIFI(layers=2))


def test_pieces_that_fit_only_together():
    assert rtdetr("r50_m", depth=2, eval_layer=2).head == RTDETRHead(depth=2, eval_layer=2)
    assert rtdetr("r18", depth=6, eval_layer=5).head == RTDETRHead(depth=6, eval_layer=5)


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({"units": PSA()}, r"zoo.rtdetr: no slot 'units'; did you mean 'unit'\?"),
        ({"neck": PAN(), "unit": PSA()}, r"unit= changes the reference's neck; set it inside neck=PAN"),
        ({"backbone": CSPBackbone(), "norm": "batch"}, r"norm= changes the reference's backbone; set it inside backbone=CSP"),
        ({"head": RTDETRHead(), "depth": 2}, r"depth= changes the reference's head; set it inside head=RTDETRHead"),
        ({"criterion": DETRCriterion(), "box_loss": CIoU()}, "box_loss= changes the reference's criterion"),
        ({"eval_layer": 4}, r"eval_layer should be at most the depth, 3 \(got 4\)"),
        ({"norm": "forzen"}, "norm.*'batch' or 'frozen'"),
        ({"backbone": RTDETRHead()}, "backbone"),
    ],
)
def test_slots_of_rtdetr_that_make_no_sense_are_sentences(slots, message):
    with pytest.raises(UserError, match=message):
        rtdetr("r18", **slots)


def test_a_swapped_backbone_keeps_the_necks_widths():
    other = CSPBackbone(widths=(8, 24, 40, 48))
    with torch.device("meta"):
        detector, reference = yolov8("n", backbone=other).build(80), yolov8("n").build(80)
    assert detector.neck.out == reference.neck.out
    assert trainable(detector.head) == trainable(reference.head)
    assert detector.top["sppf"].merge.conv.out_channels == 256


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({"unti": PSA()}, r"no slot 'unti'; did you mean 'unit'\?"),
        (
            {"backbone": CSPBackbone(), "unit": PSA()},
            r"unit= changes the reference's backbone; set it inside backbone=CSPBackbone",
        ),
        ({"head": DenseHead(), "box_branch": ConvBranch()}, "box_branch= changes the reference's head"),
        ({"neck": PAN(), "backbone": CSPBackbone(), "downsample": Pooling()}, "downsample= changes"),
        ({"criterion": DetectionCriterion(), "box_loss": GIoU()}, "box_loss= changes the reference's criterion"),
        ({"backbone": PSA()}, "backbone"),
    ],
)
def test_slots_that_make_no_sense_are_sentences(slots, message):
    with pytest.raises(UserError, match=message):
        yolov8("n", **slots)


def test_downsampling_still_reaches_what_is_not_replaced():
    assert yolov8("n", backbone=CSPBackbone(), downsample=Pooling()).neck.downsample == Pooling()


def test_no_such_scale_or_size():
    with pytest.raises(UserError, match="no scale 'z'; there are: n, s, m, l, x"):
        yolo11("z")
    with pytest.raises(UserError, match="no size 'swin'; there are: r18, r34, r50, r50_m, r101, hgnetv2_l"):
        rtdetr("swin")
    for near in ("r19", 18):
        with pytest.raises(UserError, match=f"zoo.rtdetr: no size '{near}'; did you mean 'r18'"):
            rtdetr(near)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PAN(widths=(8, 8)), "2 widths need 2 depths"),
        (lambda: PAN(widths=(8,), depths=(), stages=()), r"PAN\.widths: .*at least 2"),
        (lambda: Bottleneck(kernel_sizes=(3, 4)), r"kernel_sizes.*should be odd.*got 4"),
        (lambda: CSPBackbone(widths=(8, 8)), "4 stages need 4 widths, not 2"),
    ],
)
def test_lengths_that_disagree_are_sentences(build, message):
    with pytest.raises(UserError, match=message):
        build()
