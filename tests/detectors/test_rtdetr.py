import copy

import pytest
import torch

from detkit.backbones.csp import CSPBackbone
from detkit.backbones.presnet import PResNet
from detkit.blocks.mobivari import MobiVari
from detkit.detectors.rtdetr import RTDETR
from detkit.detectors.yolo import YOLO
from detkit.errors import UserError
from detkit.heads.dense import DenseHead
from detkit.heads.rtdetr import RTDETRHead
from detkit.losses.dense_proposals import DenseProposals
from detkit.losses.detection import DetectionCriterion
from detkit.losses.detr import DETRCriterion
from detkit.necks.hrami import HRAMi
from detkit.necks.pan import PAN
from detkit.structures import Geometry, Predictions
from tests.networks import scrambled, small_rtdetr, some_targets

LEVELS = ("c3", "c4", "c5", "p3", "p4", "p5")


@pytest.fixture(scope="module")
def detector():
    return scrambled(small_rtdetr().build(num_classes=3)).eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def difference(one: Predictions, other: Predictions) -> float:
    """The largest difference, boxes as a share of the largest."""
    boxes = (one.boxes - other.boxes).abs().max() / one.boxes.abs().max()
    return max(boxes.item(), (one.scores - other.scores).abs().max().item())


@torch.no_grad()
def test_steps_compose_to_predictions_and_losses(detector, images):
    maps = detector.features(images)
    assert [x.shape[1:] for x in maps] == [(32, 8, 12), (32, 4, 6), (32, 2, 3)]
    raw = detector.raw(maps)
    assert raw.boxes.shape == (1, 2, 20, 4) and raw.scores.shape == (1, 2, 20, 3) and raw.size == (64, 96)
    assert raw.proposals is None and raw.denoised is None
    assert difference(detector.decode(raw, (64, 96)), detector(images)) == 0
    targets = some_targets()
    torch.manual_seed(0)
    raw = detector.raw(maps, targets)
    assert raw.boxes.shape == (3, 2, 20, 4) and raw.proposals.boxes.shape == (2, 20, 4)
    assert raw.denoised.boxes.shape == (3, 2, 32, 4), "16 places, as targets are padded to 16, and as many to be refused"
    losses = detector.loss(raw, targets)
    torch.manual_seed(0)
    assert detector(images, targets) == losses
    assert detector.training is False, "targets decide, not the mode"


@torch.no_grad()
def test_boxes_are_decoded_to_pixels(detector, images):
    raw = detector.raw(detector.features(images))
    certain = raw._replace(boxes=torch.tensor([0.5, 0.25, 0.5, 0.25]).expand_as(raw.boxes))
    assert detector.decode(certain, (64, 96)).boxes[1, 7].tolist() == [24, 8, 72, 24]
    odd = detector.raw(detector.features(torch.rand(1, 3, 70, 100)))
    whole = odd._replace(boxes=torch.tensor([0.5, 0.5, 1.0, 1.0]).expand_as(odd.boxes))
    assert detector.decode(whole, (70, 100)).boxes[0, 0].tolist() == [0, 0, 104, 72], "what the cells cover"


def test_detections_are_the_best_pairs_of_query_and_class(detector):
    boxes = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 60, 60]], [[0, 0, 1, 1], [0, 0, 1, 1]]])
    scores = torch.tensor([[[0.3, 0.9, 0.1], [0.8, 0.2, 0.4]], [[0.1, 0.1, 0.1], [0.25, 0.2, 0.1]]])
    predictions = Predictions(boxes, scores, {"number": torch.arange(4).view(2, 2)})
    first, second = detector.detect(predictions, confidence=0.25)
    assert first.scores.tolist() == pytest.approx([0.9, 0.8, 0.4, 0.3]) and first.labels.tolist() == [1, 0, 2, 0]
    assert first.boxes[:, 0].tolist() == [0, 20, 20, 0] and first.extras["number"].tolist() == [0, 1, 1, 0]
    assert second.boxes.shape == (0, 4) and len(second.labels) == 0
    assert [len(found.scores) for found in detector.detect(predictions, confidence=0, limit=3)] == [3, 3]
    geometry = Geometry(torch.full((2, 2), 0.5), torch.zeros(2, 2), torch.tensor([[100, 100]] * 2))
    assert detector.detect(predictions, geometry)[0].boxes[1].tolist() == [40, 40, 100, 100]


@torch.no_grad()
@pytest.mark.parametrize(
    ("size", "queries"), [((32, 32), 21), ((64, 96), 60), ((96, 64), 60), ((160, 32), 60), ((70, 100), 60)]
)
def test_any_size_and_as_many_queries_as_there_are_cells(size, queries):
    detector = scrambled(small_rtdetr(head={"queries": 60}).build(num_classes=3)).eval()
    for batch in (2, 1):  # the second time from what is kept for the size
        predictions = detector(torch.rand(batch, 3, *size))
        assert predictions.boxes.shape == (batch, queries, 4) and predictions.scores.shape == (batch, queries, 3)
        assert predictions.boxes.isfinite().all()


@torch.no_grad()
def test_sizes_do_not_disturb_one_another(detector, images):
    fresh, used = copy.deepcopy(detector), copy.deepcopy(detector)
    for size in ((96, 64), (32, 32), (64, 64)):
        used(torch.rand(1, 3, *size))
    assert difference(fresh(images), used(images)) == 0
    assert difference(fresh(images), copy.deepcopy(used)(images)) == 0


@torch.no_grad()
def test_images_do_not_disturb_one_another(detector, images):
    whole = detector(images)
    single = detector(images[1:])
    assert difference(Predictions(whole.boxes[1:], whole.scores[1:]), single) < 1e-5


def test_training_after_inference_mode(images):
    detector = small_rtdetr().build(num_classes=3)
    with torch.inference_mode():
        detector.eval()(images)
    sum(detector.train()(images, some_targets()).values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in detector.parameters())


@torch.no_grad()
def test_a_kept_layout_follows_the_dtype(detector, images):
    double = copy.deepcopy(detector)
    double(images)
    predictions = double.double()(images)
    assert predictions.boxes.dtype == predictions.scores.dtype == torch.float64
    assert 0 < difference(detector(images), predictions) < 1e-4


def test_float64_trains_in_float64(images):
    detector = small_rtdetr().build(num_classes=3).double()
    losses = detector(images, some_targets())
    assert all(value.dtype == torch.float64 for value in losses.values())
    raw = detector.raw(detector.features(images), some_targets())
    tensors = (raw.boxes, raw.scores, raw.denoised.boxes, raw.proposals.boxes, raw.proposals.anchors)
    assert all(tensor.dtype == torch.float64 for tensor in tensors)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_and_autocast_come_close(detector, images, dtype):
    expected, half = detector(images), copy.deepcopy(detector).to(dtype)
    with torch.autocast("cpu", dtype):
        mixed = detector(images)
    for predictions in (half(images), mixed):
        assert predictions.boxes.dtype == predictions.scores.dtype == torch.float32
        assert predictions.boxes.isfinite().all() and predictions.scores.isfinite().all()
        gap = (predictions.scores.amax((1, 2)) - expected.scores.amax((1, 2))).abs().max()
        assert gap < 0.05, "queries may change places, so only the best score is compared"


def test_bytes_are_divided_and_normalised(images):
    detector = scrambled(small_rtdetr(mean=(0.5, 0.25, 0.0), std=(0.5, 1.0, 2.0)).build(num_classes=3)).eval()
    plain = small_rtdetr().build(num_classes=3).eval()
    plain.load_state_dict(detector.state_dict())
    pixels = (images * 255).to(torch.uint8)
    changed = (pixels / 255 - torch.tensor([0.5, 0.25, 0.0])[:, None, None]) / torch.tensor([0.5, 1, 2])[:, None, None]
    with torch.no_grad():
        assert difference(detector(pixels), plain(changed)) < 1e-5


@pytest.mark.parametrize("layer", [1, 2])
@torch.no_grad()
def test_any_layer_can_be_the_last_one(detector, images, layer):
    shallow = small_rtdetr(head={"eval_layer": layer}).build(num_classes=3).eval()
    shallow.load_state_dict(detector.state_dict())
    raw = detector.raw(detector.features(images), some_targets())
    chosen = raw._replace(boxes=raw.boxes[:layer], scores=raw.scores[:layer])
    assert difference(detector.decode(chosen, (64, 96)), shallow(images)) < 1e-5
    assert difference(detector(images), shallow(images)) > 1e-3
    assert shallow.raw(shallow.features(images), some_targets()).boxes.shape == raw.boxes.shape, "all layers train"


def test_a_fresh_detector_proposes_its_anchors_and_scores_the_prior(images):
    detector = small_rtdetr(criterion=DETRCriterion(dense=DenseProposals())).build(num_classes=3)
    raw = detector.raw(detector.features(images), some_targets())
    cells = [(y, x, level) for level, (h, w) in enumerate(((8, 12), (4, 6), (2, 3))) for y in range(h) for x in range(w)]
    expected = torch.tensor([[(x + 0.5) * 8 * 2**n / 96, (y + 0.5) * 8 * 2**n / 64, *[0.05 * 2**n] * 2] for y, x, n in cells])
    assert torch.allclose(raw.proposals.boxes, expected.expand(2, -1, -1), atol=1e-6), "no centre is within 0.01 of a border"
    start = raw.proposals.boxes.take_along_dim(raw.proposals.chosen.unsqueeze(-1), 1)
    assert torch.allclose(raw.boxes, start.expand_as(raw.boxes), atol=1e-6), "no layer moves a box"
    biases = [detector.head.select.classes.bias, *(classes.bias for classes in detector.head.classes)]
    assert all(torch.allclose(bias.sigmoid(), torch.tensor(0.01)) for bias in biases)


def test_cells_whose_anchor_crosses_the_border_read_nothing():
    detector = small_rtdetr(criterion=DETRCriterion(dense=DenseProposals())).build(num_classes=3)
    maps = detector.features(torch.rand(1, 3, 32, 512))  # the first centre lies at 4 / 512
    proposals = detector.raw(maps, some_targets((1,), size=32)).proposals
    edge = torch.tensor([row * 64 + column for row in range(4) for column in (0, 63)])
    assert (proposals.boxes[0, edge] == 1).all() and (proposals.scores[0, edge] == proposals.scores[0, 0]).all()
    assert (proposals.boxes[0] < 1).all(-1).sum() == 4 * 62 + 2 * 32 + 16


def test_a_box_loss_reaches_the_layer_before(images):
    detector = scrambled(small_rtdetr(head={"denoising": 0}).build(num_classes=3))
    head = detector.head
    for layer, reached in enumerate([(True, False, False), (True, True, False), (False, True, True)]):
        raw = detector.raw(detector.features(images), some_targets())
        weights = [boxes.layers[-1].weight for boxes in head.boxes]
        gradients = torch.autograd.grad(raw.boxes[layer].sum(), weights, allow_unused=True)
        assert [gradient is not None and bool(gradient.any()) for gradient in gradients] == list(reached)


def test_queries_start_detached(images):
    detector = scrambled(small_rtdetr(head={"denoising": 0}).build(num_classes=3))
    raw = detector.raw(detector.features(images), some_targets())
    reached = torch.autograd.grad(raw.boxes.sum() + raw.scores.sum(), detector.head.select.parameters(), allow_unused=True)
    assert not any(gradient is not None for gradient in reached)


@torch.no_grad()
def test_inserts_and_remixers_are_the_identity_to_the_bit(detector, images):
    slots = {"after": {level: MobiVari() for level in LEVELS}, "remix": (HRAMi(),)}
    other = small_rtdetr(**slots).build(num_classes=3).eval()
    missing, unexpected = other.load_state_dict(detector.state_dict(), strict=False)
    assert not unexpected and all(name.startswith(("after.", "remix.hrami.")) for name in missing)
    assert difference(detector(images), other(images)) == 0
    other.after["p4"].gate.fill_(1)
    assert difference(detector(images), other(images)) > 1e-4


@pytest.mark.parametrize("norm", ["batch", "frozen"])
@torch.no_grad()
def test_fuse_is_a_copy_that_equals(images, norm):
    backbone = PResNet(depths=(1, 1, 1, 1), width=8, norm=norm)
    detector = scrambled(small_rtdetr(backbone=backbone).build(num_classes=3)).eval()
    fused = detector.fuse()
    assert not any("running_mean" in name for name in fused.state_dict()), "no norm with statistics is left"
    assert difference(detector(images), fused(images)) < 1e-4


@torch.no_grad()
def test_memory_format_does_not_matter(detector, images):
    last = copy.deepcopy(detector).to(memory_format=torch.channels_last)
    assert difference(detector(images), last(images.to(memory_format=torch.channels_last))) < 1e-5


@torch.no_grad()
@pytest.mark.parametrize(("levels", "strides"), [(2, (16, 32)), (4, (4, 8, 16, 32))])
def test_other_levels(levels, strides):
    detector = small_rtdetr(levels=levels).build(num_classes=3).eval()
    assert detector.strides == strides and detector(torch.rand(1, 3, 64, 64)).boxes.shape == (1, 20, 4)


@torch.no_grad()
def test_parts_of_a_yolo_fit():
    parts = {"backbone": CSPBackbone(widths=(8, 16, 16, 32)), "neck": PAN(widths=(16, 24, 32))}
    detector = RTDETR(**parts, head=RTDETRHead(width=32, depth=1, queries=20)).build(num_classes=3).eval()
    assert detector(torch.rand(1, 3, 64, 64)).boxes.shape == (1, 20, 4)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: RTDETRHead(width=100), "width should be a multiple of heads: 100 is none of 8"),
        (lambda: RTDETRHead(depth=3, eval_layer=4), r"eval_layer should be at most the depth, 3 \(got 4\)"),
        (lambda: RTDETRHead(queries=0), "queries"),
        (lambda: small_rtdetr(head={"points": (4, 4)}).build(3), r"points=\[4, 4\] are for 2 levels; it is given 3"),
        (lambda: small_rtdetr(after={"c2": MobiVari()}).build(3), r"'c2'.*there are c3, c4, c5, p3, p4, p5"),
    ],
)
def test_mistakes_are_sentences(build, message):
    with pytest.raises(UserError, match=message):
        build()


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (lambda: RTDETR(head=DenseHead()), "model.head: DenseHead is for a DenseOutput, and RTDETR decodes a QueryOutput"),
        (
            lambda: RTDETR(criterion=DetectionCriterion()),
            "model.criterion: DetectionCriterion is for a DenseOutput, and RTDETR",
        ),
        (lambda: YOLO(head=RTDETRHead()), "model.head: RTDETRHead is for a QueryOutput, and YOLO decodes a DenseOutput"),
    ],
)
def test_parts_of_another_kind_of_detector_are_refused(spec, sentence):
    with pytest.raises(UserError, match=sentence):
        spec().build(num_classes=3)


@pytest.mark.parametrize("points", [0, (4, 0, 4), ()])
def test_points_are_one_or_more_on_each_level(points):
    with pytest.raises(UserError, match="points should be 1 or more on each level"):
        RTDETRHead(points=points)


def test_proposals_of_the_chosen_cells_alone_have_the_same_gradients(images):
    detector, found = scrambled(small_rtdetr().build(num_classes=3)).double().eval(), {}
    for everywhere in (True, False):
        detector.head.select.everywhere = everywhere
        torch.manual_seed(0)
        losses = detector(images, some_targets())
        detector.zero_grad()
        sum(losses.values()).backward()
        found[everywhere] = [*losses.values(), *(parameter.grad for parameter in detector.parameters())]
    assert all(torch.allclose(one, other, rtol=1e-9) for one, other in zip(*found.values(), strict=True))
    assert detector.raw(detector.features(images), some_targets()).proposals.boxes.shape == (2, 20, 4)
