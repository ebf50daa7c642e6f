"""``init.backbone=timm``: timm's own weights, from a cache of the hub that the tests fill, and never from a network."""

import pytest
import torch
from safetensors.torch import save_file

from detkit.backbones.repvit import RepViT
from detkit.backbones.timm_backbone import TimmBackbone
from detkit.deploy.load import load_detector
from detkit.errors import UserError
from detkit.experiment import Experiment, Init
from detkit.overrides import override
from detkit.train.fit import fit
from detkit.train.transplant import check_shares, transplant
from detkit.weights.pretrained import pretrained
from detkit.zoo import rtdetr
from tests.networks import scrambled, small_yolo
from tests.train.tiny import tiny_experiment, write_rectangles

timm = pytest.importorskip("timm")

COMMIT = "0" * 40


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty cache of the hub on a machine without a network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def publish(hub, name, seed=1):
    """Put weights of a network into the cache as the hub's client does; return them."""
    state = scrambled(timm.create_model(name), seed).state_dict()
    repository = hub / f"models--{timm.get_pretrained_cfg(name).hf_hub_id.replace('/', '--')}"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    save_file(state, repository / "snapshots" / COMMIT / "model.safetensors")
    return state


def experiment(model, *overrides):
    return override(Experiment(model=model, init=Init(backbone="timm")), overrides)


def test_the_backbone_alone_gets_timms_weights(hub):
    state = publish(hub, "test_resnet")
    made = experiment(small_yolo(backbone=TimmBackbone(name="test_resnet")), "init.strict=1")
    detector = made.model.build(3)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    found = transplant(detector, made, 3)
    check_shares(made.init, found)
    for name, value in detector.state_dict().items():
        own = name.startswith("backbone.")
        assert torch.equal(value, state[name.removeprefix("backbone.network.")] if own else before[name])
    terms, table, _ = found[0].notes
    assert terms == "timm/test_resnet.r160_in1k: terms of these weights: the file says apache-2.0"
    assert table.startswith("init.backbone: initial weights from timm/test_resnet.r160_in1k\npart ")


def test_how_images_were_normalised_is_told_until_the_model_does_it(hub):
    publish(hub, "test_resnet")
    made = experiment(small_yolo(backbone=TimmBackbone(name="test_resnet")))
    [one] = transplant(made.model.build(3), made, 3)
    assert (
        one.remark == list(one.notes)[-1].removeprefix("init.backbone: ") and "test_resnet was trained on images" in one.remark
    )
    words = one.remark.partition("write ")[2].split()
    assert words == ["model.mean=[0.5,0.5,0.5]", "model.std=[0.5,0.5,0.5]"]
    mended = override(made, words)
    [quiet] = transplant(mended.model.build(3), mended, 3)
    assert mended.model.mean == (0.5, 0.5, 0.5) and not quiet.remark and len(list(quiet.notes)) == 2


def test_our_own_networks_take_timms_weights_too(hub):
    state = publish(hub, "repvit_m0_9")
    made = experiment(small_yolo(backbone=RepViT(size="m0_9")))
    detector = made.model.build(3)
    [one] = transplant(detector, made, 3)
    assert one.report.share == 1 and not one.report.reshaped
    assert torch.equal(detector.backbone.stem.first.conv.weight, state["stem.conv1.c.weight"])


def test_the_names_of_our_networks_are_timms():
    ours = {RepViT(size=size).timm_name for size in ("m0_9", "m1_0", "m1_1", "m1_5", "m2_3")}
    ours |= {rtdetr(size).backbone.timm_name for size in ("r50", "r101", "hgnetv2_l", "hgnetv2_x", "hgnetv2_h")}
    assert len(ours) == 10 and all(map(timm.is_model_pretrained, ours))
    assert RepViT(size="m0_6").timm_name is rtdetr("r18").backbone.timm_name is small_yolo().backbone.timm_name is None


def test_drawing_initial_weights_for_it_changes_no_other_random_number(hub):
    publish(hub, "test_resnet")
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    pretrained("test_resnet")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (TimmBackbone(name="test_resnet"), r"timm's weights of test_resnet are not in .* write init\.backbone=FILE"),
        (TimmBackbone(name="test_mambaout"), r"timm publishes no weights of test_mambaout"),
        (RepViT(size="m0_6"), r"RepViT as it is here is no network of timm; name a file"),
    ],
)
def test_weights_that_cannot_be_had_are_told(backbone, message):
    made = experiment(small_yolo(backbone=backbone))
    with pytest.raises(UserError, match=rf"^init\.backbone=timm: {message}"):
        transplant(made.model.build(3), made, 3)


def test_a_run_never_needs_them_again(hub, tmp_path):
    publish(hub, "test_convnext")
    root = write_rectangles(tmp_path / "data", train=8, val=2)
    model = small_yolo(backbone=TimmBackbone(name="test_convnext"))
    words = ["init.backbone=timm", "init.strict=1"]
    tiny = tiny_experiment(root, tmp_path / "runs", epochs=1)
    done = fit(override(tiny.model_copy(update={"model": model}), words), progress=False)
    hub.rename(tmp_path / "gone")
    loaded = load_detector(done.paths["best"])
    assert loaded.experiment.init == Init(backbone="timm", strict=1)
    assert fit(override(loaded.experiment, ["recipe.epochs=2"]), resume=done.run, progress=False).last is not None
