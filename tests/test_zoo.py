import pytest
import torch

from detkit.backbones.csp import CSPBackbone
from detkit.blocks.bottleneck import Bottleneck
from detkit.blocks.psa import PSA
from detkit.errors import UserError
from detkit.heads.branches import ConvBranch
from detkit.heads.dense import DenseHead
from detkit.losses.detection import DetectionCriterion
from detkit.losses.giou import GIoU
from detkit.necks.pan import PAN
from detkit.overrides import override
from detkit.parts import DetectorSpec, DownsampleSpec, UpsampleSpec
from detkit.spec import from_dict, to_dict
from detkit.zoo import yolo11, yolov8

PARAMETERS = {
    yolov8: {"n": 3_157_184, "s": 11_166_544, "m": 25_902_624, "l": 43_691_504, "x": 68_229_632},
    yolo11: {"n": 2_624_064, "s": 9_458_736, "m": 20_114_672, "l": 25_372_144, "x": 56_966_160},
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


def test_no_such_scale():
    with pytest.raises(UserError, match="no scale 'z'; there are n, s, m, l, x"):
        yolo11("z")


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
