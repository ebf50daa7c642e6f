import pytest
import torch
from torch import Tensor, nn

from detkit.detectors.yolo import YOLO
from detkit.errors import UserError
from detkit.necks.pan import PAN
from detkit.parts import Backbone, BackboneSpec, BlockSpec, Insert, Neck, NeckSpec
from detkit.stages.c2psa import C2PSA
from detkit.stages.sppf import SPPF
from detkit.structures import Level
from detkit.zoo import yolo11, yolov8
from tests.networks import scrambled, small_yolo, some_targets

LEVELS = ("c3", "c4", "c5", "p3", "p4", "p5")


class Twice(BlockSpec):
    def build(self, channels: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels))


class Doubling(NeckSpec):
    def build(self, levels) -> Neck:
        class Double(Neck):
            out = tuple(levels)

            def forward(self, maps: list[Tensor]) -> list[Tensor]:
                return [2 * x for x in maps]

        return Double()


class Shallow(BackboneSpec):
    def build(self, levels=None) -> Backbone:
        class Network(Backbone):
            out = (Level(4, 4), Level(8, 8))

            def forward(self, images: Tensor) -> list[Tensor]:
                raise NotImplementedError

        return Network()


@pytest.fixture(scope="module")
def detector():
    return scrambled(small_yolo().build(num_classes=3)).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_steps_compose_to_predictions_and_losses(detector, images):
    maps = detector.features(images)
    assert [x.shape[1:] for x in maps] == [(16, 8, 12), (16, 4, 6), (32, 2, 3)]
    raw = detector.raw(maps)
    assert raw.distances.shape == (2, 126, 4, 8) and raw.scores.shape == (2, 126, 3)
    predictions, composed = detector.decode(raw, (64, 96)), detector(images)
    assert torch.equal(predictions.boxes, composed.boxes) and torch.equal(predictions.scores, composed.scores)
    targets = some_targets()
    assert detector.loss(raw, targets) == detector(images, targets)
    assert detector.training is False, "targets decide, not the mode"


def test_predictions_in_training_mode_too(detector, images):
    detector.train()
    assert detector(images).boxes.shape == (2, 126, 4)
    detector.eval()


def test_box_of_certain_distances(detector, images):
    raw = detector.raw(detector.features(images))
    bins = torch.tensor([1, 2, 3, 4])
    certain = torch.full_like(raw.distances, -1e4)
    certain.scatter_(-1, bins[None, None, :, None].expand(2, 126, 4, 1), 1e4)
    boxes = detector.decode(raw._replace(distances=certain), (64, 96)).boxes
    assert boxes[0, 0].tolist() == [4 - 8, 4 - 16, 4 + 24, 4 + 32]
    assert boxes[1, -1].tolist() == [80 - 32, 48 - 64, 80 + 96, 48 + 128]


def test_bytes_are_divided_by_255_and_cast_to_the_parameters(images):
    detector = small_yolo(mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0)).build(3).double()
    pixels = (images * 255).to(torch.uint8)
    prepared = detector.prepare(pixels)
    assert prepared.dtype == torch.float64
    expected = (pixels.double() / 255 - torch.tensor([0.5, 0.25, 0.0])[:, None, None]) / torch.tensor([0.5, 1, 2])[
        :, None, None
    ]
    assert torch.allclose(prepared, expected, rtol=1e-12)
    assert torch.equal(detector.prepare(pixels.double() / 255), prepared), "floating images are [0, 1] already"
    assert not {"mean", "std"} & set(detector.state_dict())


@pytest.mark.parametrize(
    ("given", "expected"), [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)]
)
def test_only_half_precision_is_lifted(given, expected):
    predictions = small_yolo().build(3).to(given).eval()(torch.rand(1, 3, 32, 32))
    assert predictions.boxes.dtype == predictions.scores.dtype == expected


@pytest.mark.parametrize("size", [(32, 32), (33, 70), (100, 64), (1, 1)])
def test_any_input_size(detector, size):
    cells = sum(-(-size[0] // s) * -(-size[1] // s) for s in (8, 16, 32))
    assert detector(torch.rand(1, 3, *size)).scores.shape == (1, cells, 3)


def test_class_biases_start_from_the_prior():
    head = small_yolo().build(num_classes=3).head
    for name, stride in (("p3", 8), ("p4", 16), ("p5", 32)):
        prior = 5 / 3 / (640 / stride) ** 2
        assert head.class_branch[name].predict.bias.exp().tolist() == pytest.approx([prior] * 3)
        assert head.box_branch[name].predict.bias.tolist() == [1.0] * 32


@pytest.mark.parametrize("reference", [yolov8, yolo11])
def test_inserts_are_the_identity_to_the_bit(reference, images):
    torch.manual_seed(0)
    plain = scrambled(reference("n").build(num_classes=80)).eval()
    inserted = reference("n", after={level: Twice() for level in LEVELS}).build(num_classes=80).eval()
    missing, unexpected = inserted.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected and {name.rsplit(".", 1)[0].split(".block")[0] for name in missing} == {f"after.{n}" for n in LEVELS}
    with torch.no_grad():
        before, after = plain(images), inserted(images)
    assert torch.equal(before.boxes, after.boxes) and torch.equal(before.scores, after.scores)
    inserted.after["p4"].gate.data.fill_(1.0)
    with torch.no_grad():
        assert not torch.equal(before.scores, inserted(images).scores)


def test_bare_inserts_and_remixers_take_part(detector, images):
    with torch.no_grad():
        before = detector.features(images)
        bare = small_yolo(after={"p3": Insert(block=Twice(), gate=False)}).build(3).eval()
        bare.load_state_dict(detector.state_dict(), strict=False)
        maps = bare.features(images)
        assert not torch.equal(maps[0], before[0]) and torch.equal(maps[1], before[1])
        remixed = small_yolo(remix=(Doubling(), Doubling())).build(3).eval()
        remixed.load_state_dict(detector.state_dict())
        assert all(torch.equal(x, 4 * y) for x, y in zip(remixed.features(images), before, strict=True))
        assert list(remixed.remix) == ["doubling", "doubling_2"]


def test_an_insert_that_nobody_reads_is_an_error():
    with pytest.raises(UserError, match=r"'c2'.*there are c3, c4, c5, p3, p4, p5"):
        small_yolo(after={"c2": Twice()}).build(3)


def test_a_missing_level_is_a_sentence():
    with pytest.raises(UserError, match="PAN needs stride 16; Shallow gives strides 4, 8"):
        small_yolo(backbone=Shallow()).build(3)


def test_a_p2_head_is_four_widths():
    neck = PAN(widths=(8, 16, 16, 32), depths=(1,) * 6, stages=(PAN().stages[0],) * 6)
    detector = small_yolo(neck=neck, after={"c2": Twice(), "p2": Twice()}).build(3)
    assert detector.strides == (4, 8, 16, 32)
    names = {name for name, _ in detector.named_modules()}
    assert {"neck.top_down.p2.body", "neck.bottom_up.p3.downsample", "head.box_branch.p2.predict"} <= names
    predictions = detector.eval()(torch.rand(1, 3, 64, 64))
    assert predictions.boxes.shape == (1, 256 + 64 + 16 + 4, 4)


def test_a_new_top_stage_does_not_rename_the_others():
    before = set(small_yolo(top=(SPPF(),)).build(3).state_dict())
    after = set(small_yolo(top=(C2PSA(), SPPF(), C2PSA())).build(3).state_dict())
    assert before < after
    assert all(name.startswith(("top.c2psa.", "top.c2psa_2.")) for name in after - before)


def test_top_width_is_the_necks_affair():
    detector = small_yolo(top=(SPPF(), C2PSA()), top_width=24).build(3)
    assert detector.top["sppf"].merge.conv.out_channels == 24
    assert detector.top["c2psa"].split.conv.in_channels == 24
    assert detector.neck.top_down["p4"].body.split.conv.in_channels == 24 + 16


def test_fuse_is_a_copy_that_equals(detector, images):
    names = list(detector.state_dict())
    with torch.no_grad():
        fused = detector.train().fuse()
        detector.eval()
        before, after = detector(images), fused(images)
    assert list(detector.state_dict()) == names and not fused.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    for one, other in zip(before[:2], after[:2], strict=True):
        assert (one - other).abs().max() < 1e-4 * one.abs().max()


def test_training_never_asks_the_device_for_a_value():
    detector = small_yolo().build(3).to("meta")  # where there are shapes, but no values
    targets = some_targets()
    on_device = targets._replace(
        boxes=targets.boxes.to("meta"), labels=targets.labels.to("meta"), counts=targets.counts.to("meta")
    )
    losses = detector(torch.zeros(2, 3, 64, 64, dtype=torch.uint8, device="meta"), on_device)
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in detector.parameters())


def test_autocast_trains(images):
    detector = small_yolo().build(3).train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = detector(images, some_targets())
    assert all(value.dtype == torch.float32 for value in losses.values())
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in detector.parameters())


def test_spec_round_trips_and_its_default_is_yolov8n():
    assert yolov8("n") == YOLO(top_width=256)
