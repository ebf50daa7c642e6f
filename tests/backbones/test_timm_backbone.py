"""timm's networks as backbones: their maps are timm's, they hold the contract, and what is no backbone is refused."""

import pytest
import torch

from detkit.backbones import timm_backbone
from detkit.backbones.timm_backbone import TimmBackbone
from detkit.checks.contracts import check
from detkit.errors import MissingPackage, UserError
from detkit.nn.fuse import fuse
from detkit.structures import Level
from detkit.weights import load_weights
from detkit.zoo import yolo11
from tests.networks import scrambled, small_rtdetr, small_yolo, some_targets

timm = pytest.importorskip("timm")

TINY = ("test_resnet", "test_convnext", "test_efficientnet", "test_byobnet", "test_nfnet", "test_mambaout")
"""timm's own small networks for tests; the last one's maps are NHWC."""
FAMILIES = (
    *("resnet18", "resnet50d", "regnety_002", "cspresnet50", "dla34", "densenet121", "vgg11_bn"),
    *("mobilenetv3_small_050", "mobilenetv4_conv_small", "efficientnet_b0", "ghostnet_100", "mobileone_s0", "fastvit_t8"),
    *("convnext_atto", "edgenext_xx_small", "repvit_m0_9", "hgnetv2_b0", "efficientvit_b0", "mambaout_femto", "caformer_s18"),
    *("swin_tiny_patch4_window7_224", "swinv2_cr_tiny_ns_224", "pvt_v2_b0", "mvitv2_tiny"),
)
APART = {
    "mobileone_s0": {"takes float16 autocast", "takes half precision"},  # random weights make its many branches overflow
    "mambaout_femto": {"treats images apart"},  # by rounding, 1.03e-5 of the largest value where 1e-5 is allowed
    "edgenext_xx_small": {"keeps its dtype"},  # these make constants in float32
    "efficientvit_b0": {"keeps its dtype"},
    "mvitv2_tiny": {"keeps its dtype"},
}
"""What networks of timm don't hold of the contract, and why."""
EVERY = [*TINY, *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", [*EVERY, pytest.param("hrnet_w18_small", marks=pytest.mark.slow)])
@torch.no_grad()
def test_its_maps_are_timms(name):
    backbone = scrambled(TimmBackbone(name=name).build([8, 16])).eval()
    reductions = [info["reduction"] for info in timm.create_model(name, num_classes=0).feature_info]
    last = [len(reductions) - 1 - reductions[::-1].index(level.stride) for level in backbone.out]
    theirs = timm.create_model(name, features_only=True, out_indices=last, feature_cls="getter").eval()
    theirs.model.load_state_dict(backbone.network.state_dict())
    images = torch.rand(2, 3, 224, 224)
    for level, found, expected in zip(backbone.out, backbone(images), theirs(images), strict=True):
        assert found.shape == (2, level.channels, 224 // level.stride, 224 // level.stride)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", EVERY)
@torch.no_grad()
def test_levels_are_the_declared_ones_at_any_size(name):
    backbone = TimmBackbone(name=name).build().eval()
    for height, width in ((64, 96), (33, 71), (1, 1)):
        for level, found in zip(backbone.out, backbone(torch.rand(1, 3, height, width)), strict=True):
            assert found.shape == (1, level.channels, -(-height // level.stride), -(-width // level.stride))
            assert found.isfinite().all()


@pytest.mark.parametrize("name", ["test_convnext", *(pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES)])
@pytest.mark.parametrize(
    "host", [lambda part: small_yolo(backbone=part), lambda part: small_rtdetr(backbone=part)], ids=["yolo", "rtdetr"]
)
def test_it_trains_in_a_detector_that_fuses(host, name):
    detector = host(TimmBackbone(name=name)).build(3)
    sum(detector.train()(torch.rand(2, 3, 64, 64), some_targets()).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in detector.parameters())
    images = torch.rand(1, 3, 70, 96)
    with torch.no_grad():
        for found, expected in zip(detector.fuse()(images)[:2], detector.eval()(images)[:2], strict=True):
            assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_it_holds_the_contract(name):
    card = check(TimmBackbone(name=name))
    broken = {finding.case: finding.text for finding in card.findings if finding.outcome == "broke"}
    assert broken.keys() <= APART.get(name, set()), broken


def test_branches_are_merged():
    backbone = TimmBackbone(name="repvit_m0_9").build([8])
    assert len(list(backbone.fused().modules())) < len(list(backbone.modules()))


def test_what_timm_calls_fused_is_no_method():
    part = torch.nn.ReLU()
    part.fused = False  # as EfficientViM has it
    assert fuse(torch.nn.Sequential(part))[0] is part


def test_a_file_of_timm_is_loaded_whole():
    published = scrambled(timm.create_model("test_resnet"), seed=1).state_dict()
    detector = yolo11("n", backbone=TimmBackbone(name="test_resnet")).build(3)
    report = load_weights(detector, published, part="backbone")
    assert (
        report.share == 1 and not report.initial and not report.reshaped and set(report.unexpected) == {"fc.weight", "fc.bias"}
    )
    assert torch.equal(detector.backbone.network.conv1[0].weight, published["conv1.0.weight"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnt18", r"timm .* has no network 'resnt18'; did you mean 'resnet18'"),
        ("zzqq", r"no network 'zzqq'; timm\.list_models\(\) tells all"),
        ("test_resnet.in22k", r"no weights 'in22k' of test_resnet; there are: r160_in1k"),
        ("test_maxvit", r"test_maxvit does not take images of any size \(.*window.*\); choose one that does"),
        ("test_vit", r"PAN needs stride 8; TimmBackbone gives strides 16"),
    ],
)
def test_what_is_no_backbone_is_told(name, message):
    with pytest.raises(UserError, match=message), torch.device("meta"):
        small_yolo(backbone=TimmBackbone(name=name)).build(3)


def test_networks_made_for_one_size_take_any_where_they_can():
    with torch.device("meta"):
        backbone = TimmBackbone(name="swin_tiny_patch4_window7_224").build([8, 16, 32])
    assert backbone.out == (Level(192, 8), Level(384, 16), Level(768, 32))


def test_maps_that_do_not_follow_the_image_are_told():
    message = (
        r"crossvit_9_240 gives a map \(1, 128, 20, 20\) of an image of 408x612 where one of stride 12 is \(1, 128, 34, 51\)"
    )
    with pytest.raises(UserError, match=message):
        TimmBackbone(name="crossvit_9_240").build()


def test_strides_that_it_lacks_are_told():
    with pytest.raises(UserError, match="TimmBackbone gives strides 2, 4, 8, 16, 32; none of them is asked for"):
        TimmBackbone(name="test_resnet").build([64])


def test_without_timm_it_says_what_to_install_and_is_skipped(monkeypatch):
    monkeypatch.setattr(timm_backbone, "find_spec", lambda package: None)
    with pytest.raises(MissingPackage, match=r'needs the package timm, which is not installed; pip install "detkit\[timm\]"'):
        TimmBackbone().build()
    card = check(TimmBackbone())
    assert card.count("skipped") > 20 and not card.count("broke")
