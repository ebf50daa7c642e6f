"""Publishers' files become checkpoints that predict and evaluate as the publishers' detectors do."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from detkit.cli.predict import main as predict
from detkit.cli.weights import main
from detkit.deploy.convert import convert, published
from detkit.deploy.load import load_detector
from detkit.errors import UserError
from detkit.train.evaluate import evaluate
from detkit.weights import read
from detkit.weights.published import COCO, DETECTORS
from tests.golden.deterministic import image
from tests.golden.test_detectors import golden, relative_error
from tests.networks import small_yolo
from tests.weights.files import foreign, tree

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")

RTDETR = "rtdetr_r18vd_6x_coco"


def published_file(name, path, change=lambda state: state, names=COCO):
    """Write the golden weights as their publisher does; return them."""
    state = change({key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in golden(name)[2].items()})
    if name == RTDETR:
        torch.save({"ema": {"module": state, "updates": 7}, "last_epoch": 3}, path)
        return state
    with foreign("ultralytics.nn.tasks.DetectionModel", "ultralytics.nn.modules.conv.Conv") as [Model, Conv]:
        model = tree(state, Model, Conv)
        model.names = dict(enumerate(names))
        torch.save({"model": model, "ema": None}, path)
    return state


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Checkpoints by golden name, made once."""
    folder = tmp_path_factory.mktemp("converted")
    for name in ("yolov8n", "yolo11n", RTDETR):
        published_file(name, folder / f"{name}.pt")
        convert(folder / f"{name}.pt", folder / f"{name}.ckpt")
    return folder


@pytest.mark.parametrize(
    ("name", "model", "tolerance"), [("yolov8n", "yolov8n", 1e-5), ("yolo11n", "yolo11n", 1e-5), (RTDETR, "rtdetr_r18", 1e-3)]
)
@torch.no_grad()
def test_predictions_are_the_publishers(converted, name, model, tolerance):
    record, samples, _ = golden(name)
    loaded = load_detector(converted / f"{name}.ckpt")
    assert loaded.experiment.model == DETECTORS[model]() and loaded.names == COCO
    assert loaded.experiment == published(model) and loaded.experiment.data.shape == (640, 640)
    assert (loaded.experiment.data.resize == "stretch") == (name == RTDETR)
    shape, seed = (record["inputs"][0], 1) if name == RTDETR else (record["input_shape"], 0)
    predictions = loaded.detector.double()(torch.tensor(image(tuple(shape), seed=seed)))
    for output in ("boxes", "scores"):  # what is left is that the weights were rounded to single precision
        assert relative_error(getattr(predictions, output).numpy(), samples, output) < tolerance


def test_the_tools_take_it_and_category_ids_are_the_data_sets(converted, tmp_path):
    """COCO's ids have gaps, so that labels are no ids."""
    ids = {1: "person", 24: "zebra", 90: "toothbrush"}
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (root / split).mkdir()
        pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(root / split / "1.png")
        boxes = [
            {"id": number, "image_id": 1, "category_id": number, "bbox": [4, 4, 40, 40], "area": 1600, "iscrowd": 0}
            for number in ids
        ]
        content = {
            "images": [{"id": 1, "file_name": "1.png", "width": 64, "height": 64}],
            "annotations": boxes,
            "categories": [{"id": number, "name": name} for number, name in ids.items()],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    words = [f"data.root={root}", "data.size=64", "plots=false", "trainer.accelerator=cpu"]
    done = evaluate(converted / "yolov8n.ckpt", words, output=tmp_path / "eval", progress=False)
    assert list(done.result.classes)[:3] == list(ids.values())
    found = json.loads((tmp_path / "eval" / "results.json").read_text())
    detector = load_detector(converted / "yolov8n.ckpt").detector
    pixels = torch.from_numpy(np.asarray(Image.open(root / "val2017" / "1.png")).copy()).movedim(-1, 0)[None]
    with torch.no_grad():
        highest = detector(pixels).scores[0].amax(0)
    best = {number: max((item["score"] for item in found if item["category_id"] == number), default=0.0) for number in ids}
    assert any(best.values())
    for number, name in ids.items():  # the best of a category is the best of the label of its name
        assert best[number] in (0, pytest.approx(highest[COCO.index(name)].item(), rel=1e-3))
    words = [str(converted / "yolo11n.ckpt"), str(root / "val2017"), "--size", "64", "--device", "cpu"]
    assert predict([*words, "--output", str(tmp_path / "out"), "--confidence", "0.001"]) == 0
    assert (tmp_path / "out" / "predictions.json").is_file()


def test_the_command_tells_what_became_of_a_file(tmp_path, capsys):
    names = [f"part {number}" for number in range(80)]
    state = published_file(
        "yolo11n", tmp_path / "a.pt", lambda state: {key: tensor.half() for key, tensor in state.items()}, names
    )
    assert main(["convert", str(tmp_path / "a.pt"), str(tmp_path / "a.ckpt")]) == 0
    printed = capsys.readouterr().out
    for word in ("100.0% of the parameters", "yolo11n", "AGPL-3.0", "float16 became float32", "80, of the file: part 0"):
        assert word in printed, printed
    found = read(tmp_path / "a.ckpt")
    assert found.classes == tuple(names) and "AGPL-3.0" in found.terms and set(found.precision) == {"float32", "int64"}
    stem = found.state["backbone.stem.conv.weight"]
    assert torch.equal(stem, state["model.0.conv.weight"].float())
    assert main(["convert", str(tmp_path / "a.pt"), str(tmp_path / "a.ckpt")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "a.ckpt"), str(tmp_path / "b.ckpt")]) == 2
    assert "is a checkpoint of detkit already" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "a.pt"), str(tmp_path / "b.ckpt"), "--model", "yolo11q"]) == 2
    assert "no published detector 'yolo11q'" in capsys.readouterr().err


def test_what_is_left_over_is_refused_unless_asked_for(tmp_path):
    published_file("yolov8n", tmp_path / "a.pt", lambda state: state | {"model.22.extra": torch.zeros(3)})
    with pytest.raises(UserError, match="fills none of the published detectors; name the config"):
        convert(tmp_path / "a.pt", tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=r"a\.pt does not fill this YOLO of 80 classes: 1 tensors are unexpected: .*extra"):
        convert(tmp_path / "a.pt", tmp_path / "a.ckpt", published("yolov8n"))
    assert not (tmp_path / "a.ckpt").exists()
    assert convert(tmp_path / "a.pt", tmp_path / "a.ckpt", published("yolov8n"), strict=False).report.share == 1


def test_classes_are_named_by_whom_they_can_be(tmp_path):
    model = published("yolov8n").model
    save_file(model.build(3).state_dict(), tmp_path / "own.safetensors")
    done = convert(tmp_path / "own.safetensors", tmp_path / "a.ckpt")
    assert done.model == "yolov8n" and done.classes == ("class_0", "class_1", "class_2") and "--classes" in done.named_by
    done = convert(tmp_path / "own.safetensors", tmp_path / "b.ckpt", classes=["red", "white", "platelet"])
    assert load_detector(tmp_path / "b.ckpt").names == done.classes == ("red", "white", "platelet")
    with pytest.raises(UserError, match="has 3 classes, but 2 names were given"):
        convert(tmp_path / "own.safetensors", tmp_path / "c.ckpt", classes=["red", "white"])
    save_file(model.build(80).state_dict(), tmp_path / "eighty.safetensors")  # one's own eighty are nobody's in particular
    assert convert(tmp_path / "eighty.safetensors", tmp_path / "e.ckpt").classes[79] == "class_79"
    with pytest.raises(UserError, match="'red' is there twice"):
        convert(tmp_path / "own.safetensors", tmp_path / "c.ckpt", classes=["red", "red", "white"])


def test_a_layer_list_that_is_unknown_is_told_with_its_file(tmp_path):
    """As that of a detector with more layers before its head."""
    longer = {name.replace("model.22.", "model.25."): tensor for name, tensor in golden("yolov8n")[2].items()}
    torch.save(longer, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"a\.pth.* neither YOLOv8's nor YOLO11's"):
        convert(tmp_path / "a.pth", tmp_path / "a.ckpt")


def test_a_config_says_what_a_changed_detector_is(tmp_path):
    experiment = published("yolov8n").model_copy(update={"model": small_yolo()})
    torch.save(small_yolo().build(4).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UserError, match="fills none of the published"):
        convert(tmp_path / "a.pth", tmp_path / "a.ckpt")
    assert convert(tmp_path / "a.pth", tmp_path / "a.ckpt", experiment).report.fault is None
    assert load_detector(tmp_path / "a.ckpt").experiment == experiment


@pytest.mark.parametrize(
    ("state", "family"),
    [
        ({"backbone.conv1.weight": torch.ones(2), "bbox_head.retina_cls.weight": torch.ones(20, 4, 3, 3)}, "mmdetection"),
        ({"conv1.conv1_1.conv.weight": torch.ones(2)}, r"RT-DETR \(lyuwenyu\)"),
        ({"layers.0.blocks.0.retention.q.weight": torch.ones(2), "head.weight": torch.ones(1000, 2)}, "RMT"),
        ({"something": torch.ones(2)}, "of no known family"),
    ],
    ids=["mmdetection", "backbone", "classifier", "unknown"],
)
def test_what_is_no_detector_that_is_known_is_told(state, family, tmp_path):
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match=rf"a\.pth \({family}.*\) is read, but holds no whole detector whose names are known"):
        convert(tmp_path / "a.pth", tmp_path / "a.ckpt")
