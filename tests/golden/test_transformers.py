"""RT-DETR and RT-DETRv2 equal the implementation in Hugging Face's transformers, from weights drawn at random."""

import pytest
import torch

from detkit.backbones.presnet import PResNet
from detkit.blocks.aifi import AIFI
from detkit.boxes import normalise, to_cxcywh
from detkit.detectors.rtdetr import RTDETR
from detkit.heads.rtdetr import RTDETRHead
from detkit.necks.hybrid import HybridEncoder
from detkit.weights import load_weights
from detkit.weights.rtdetr import rename
from detkit.zoo import rtdetr
from tests.golden.deterministic import image
from tests.golden.transformers_names import official
from tests.networks import some_targets

transformers = pytest.importorskip("transformers", minversion="5")

QUERIES, CLASSES, SHAPE = 60, 7, (2, 3, 64, 96)
R18 = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
SMALL = {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [1, 1, 1, 1], "layer_type": "basic"}
SMALL_REST = {"encoder_in_channels": [32, 64, 128], "decoder_in_channels": [64] * 3, "encoder_hidden_dim": 64, "d_model": 64}


def reference(family, resnet, **fields):
    """Return their detector in float64 with random weights."""
    backbone = transformers.RTDetrResNetConfig(**resnet, out_features=["stage2", "stage3", "stage4"])
    config = getattr(transformers, f"{family}Config")(
        backbone_config=backbone, num_labels=CLASSES, num_queries=QUERIES, anchor_image_size=None, **fields
    )
    detector = getattr(transformers, f"{family}ForObjectDetection")(config).double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in detector.state_dict().items():
            if name.endswith(("bias", "running_mean")):
                tensor.normal_(std=0.1, generator=generator)
            elif tensor.ndim > 1:
                tensor.normal_(std=(1 / tensor[0].numel()) ** 0.5, generator=generator)
            elif name.endswith(("weight", "running_var")):
                tensor.uniform_(0.5, 1.5, generator=generator)
    sines = detector.get_submodule("model.encoder.aifi.0.position_embedding")
    sines.register_forward_pre_hook(publishers_order, with_kwargs=True)
    return detector


def publishers_order(module, arguments, sides):
    """They number positions row by row; the publisher goes column by column, which is another code where a map isn't square."""
    return arguments, sides | {"width": sides["height"], "height": sides["width"]}


def loaded(theirs, ours):
    """Return our detector with their weights."""
    detector = ours.build(num_classes=CLASSES).double().eval()
    state = official(theirs.state_dict())
    if detector.head.denoising is None:
        del state["decoder.denoising_class_embed.weight"]
    report = load_weights(detector, state, source="rtdetr", strict=True)
    assert report.share == 1
    return detector


def compare(theirs, ours):
    """Compare logits and boxes of all queries."""
    detector, images = loaded(theirs, ours), torch.tensor(image(SHAPE))
    with torch.no_grad():
        expected, raw = theirs(images), detector.raw(detector.features(images))
    for one, other in ((expected.logits, raw.scores[-1]), (expected.pred_boxes, raw.boxes[-1])):
        assert one.shape == other.shape and other.dtype == torch.float64
        assert (one - other).abs().max() < 1e-9 * one.abs().max()
    assert expected.logits.std() > 0.1 and expected.pred_boxes.std(1).amax(-1).min() > 0.05


def small(**head):
    """Ours of the size of `SMALL`."""
    backbone, neck = PResNet(depths=(1, 1, 1, 1), width=16), HybridEncoder(width=64, intra=AIFI(feedforward=1024))
    return RTDETR(backbone=backbone, neck=neck, head=RTDETRHead(width=64, queries=QUERIES, **head))


def test_r18():
    rest = {"encoder_in_channels": [128, 256, 512], "hidden_expansion": 0.5, "decoder_layers": 3}
    compare(reference("RTDetr", R18, **rest), rtdetr("r18", queries=QUERIES))


def test_r50():
    compare(reference("RTDetr", {}), rtdetr("r50", queries=QUERIES))


R34 = R18 | {"depths": [3, 4, 6, 3]}
R34_REST = {"encoder_in_channels": [128, 256, 512], "hidden_expansion": 0.5, "decoder_layers": 4}
R101_REST = {"encoder_hidden_dim": 384, "encoder_ffn_dim": 2048, "decoder_in_channels": [384] * 3}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["RTDetr", "RTDetrV2"])
@pytest.mark.parametrize(
    ("size", "resnet", "rest", "slots"),
    [
        ("r34", R34, R34_REST, {}),
        ("r50_m", {}, {"hidden_expansion": 0.5}, {"eval_layer": 6}),  # theirs always runs all layers
        ("r101", {"depths": [3, 4, 23, 3]}, R101_REST, {}),
    ],
    ids=["r34", "r50_m", "r101"],
)
def test_other_sizes(family, size, resnet, rest, slots):
    compare(reference(family, resnet, **rest), rtdetr(size, queries=QUERIES, **slots))


@pytest.mark.parametrize(("sampling", "method"), [("bilinear", "default"), ("discrete", "discrete")])
@pytest.mark.parametrize("points", [4, (2, 3, 7)])
def test_sampling_of_the_second_version(sampling, method, points):
    theirs = reference("RTDetrV2", SMALL, decoder_method=method, decoder_layers=2, **SMALL_REST)
    if points != 4:  # their configuration has one number for all levels, but what computes takes a list
        for layer in theirs.model.decoder.layers:
            layer.encoder_attn.n_points_list = list(points)
            layer.encoder_attn.n_points_scale.copy_(torch.tensor([1 / count for count in points for _ in range(count)]))
    compare(theirs, small(depth=2, points=points, sampling=sampling))


@pytest.mark.parametrize("depth", [1, 3])
def test_losses_and_gradients(depth):
    theirs = reference("RTDetr", SMALL, decoder_layers=depth, **SMALL_REST)
    ours, images = loaded(theirs, small(depth=depth, denoising=0)), torch.tensor(image(SHAPE))
    targets = some_targets((3, 2), classes=CLASSES)
    labels = [
        {"class_labels": label, "boxes": to_cxcywh(normalise(boxes.double(), SHAPE[2:]))}
        for boxes, label in targets.per_image()
    ]
    expected, losses = theirs(images, labels=labels), ours(images, targets)
    for name, term in (("vfl", "class"), ("bbox", "l1"), ("giou", "box")):
        assert torch.allclose(expected.loss_dict[f"loss_{name}"], losses[term], rtol=1e-9)
    assert torch.allclose(expected.loss, sum(losses.values()), rtol=1e-9)
    if depth > 1:  # in theirs, no box loss reaches the layer before: they do not look forward twice
        return
    expected.loss.backward()
    sum(losses.values()).backward()
    gradients = official({name: value.grad for name, value in theirs.named_parameters() if value.grad is not None})
    compared = {name: gradients[official_name] for official_name, name in rename(gradients).items()}
    left = {name for name, _ in ours.named_parameters()} - set(compared)
    assert all(name.startswith("backbone.") and ".norm." in name for name in left), "theirs are frozen there"
    for name, gradient in compared.items():
        found = ours.get_parameter(name).grad
        assert (gradient - found).abs().max() < 1e-7 * gradient.abs().max(), name
