"""Files of every kind are read, whoever wrote them, and nothing that they name is needed."""

import argparse
import json
import pickle
from collections import Counter, OrderedDict, defaultdict, deque
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from detkit.cli.weights import main
from detkit.errors import UserError
from detkit.weights import load_weights, read
from detkit.weights.archive import open_content
from detkit.weights.records import Record
from detkit.zoo import yolo11, yolov8
from tests.weights.files import Raw, foreign, legacy, pickled, storage_key, tensor, tree

pytestmark = pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")

GOLDEN = Path(__file__).parents[1] / "golden"
BASE = torch.arange(12.0)
VALUES = {
    "matrix": BASE.view(3, 4),
    "transposed": BASE.view(3, 4).t(),
    "half": torch.ones(3).half(),
    "bfloat": torch.tensor([1.5, -2]).bfloat16(),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "complex": torch.tensor([1 + 2j]),
    "flags": torch.tensor([True, False]),
    "count": torch.tensor(3),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "tail": torch.arange(9, dtype=torch.int16)[5:],
    "parameter": nn.Parameter(torch.ones(2)),
    "none": torch.empty(0, 4),
    "sparse": torch.eye(3).to_sparse(),
}


def golden(name, whole=True):
    """Return tensors of the names of a golden file, of their whole shapes or of the first dimension alone."""
    shapes = json.loads((GOLDEN / f"{name}.json").read_text())["state"]
    numbers = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(shape if whole else shape[:1], generator=numbers).to(
            torch.int64 if name.endswith("tracked") else torch.float16
        )
        for name, shape in shapes.items()
    }


# --- formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_tensors_of_every_kind(new, protocol, tmp_path):
    torch.save(OrderedDict(VALUES), tmp_path / "a.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    found = read(tmp_path / "a.pt").state
    assert list(found) == list(VALUES)
    for name, value in VALUES.items():
        assert found[name].dtype == value.dtype and found[name].layout == value.layout and not found[name].requires_grad
        assert torch.equal(found[name].to_dense(), value.detach().to_dense()), name
    assert found["matrix"].data_ptr() == found["transposed"].data_ptr()
    assert found["transposed"].stride() == (1, 4)


def test_what_is_written_to_a_tensor_does_not_reach_the_file(tmp_path):
    torch.save({"a": torch.ones(4)}, tmp_path / "a.pt")
    before = (tmp_path / "a.pt").read_bytes()
    read(tmp_path / "a.pt").state["a"].zero_()
    assert (tmp_path / "a.pt").read_bytes() == before
    assert read(tmp_path / "a.pt").state["a"].mean() == 1


def test_a_tensor_that_is_read_can_be_stored_alone(tmp_path):
    torch.save({"small": torch.ones(4), "large": torch.ones(100_000)}, tmp_path / "a.pt")
    torch.save({"small": read(tmp_path / "a.pt").state["small"]}, tmp_path / "b.pt")
    assert (tmp_path / "b.pt").stat().st_size < 5000


def test_a_file_over_4_gb_is_mapped(tmp_path):
    count, large = 1_100_000_000, tensor(storage_key(1_100_000_000, legacy=True), (1_100_000_000,), (1,))
    heads = (legacy(pickled({"large": large, "x" * pad: 0}), {"0": (count, b"")}) for pad in range(1, 9))
    with (tmp_path / "large.pth").open("wb") as file:
        begin = file.write(next(head for head in heads if len(head) % 8 == 0))  # elsewhere, a storage is copied
        file.truncate(begin + 4 * count)  # a hole, which takes no place on the disk
        file.seek(-4, 2)
        file.write(np.float32(7).tobytes())
    large = read(tmp_path / "large.pth").state["large"]
    assert large[-1] == 7 and large[0] == 0 and large.nbytes > 2**32


def test_safetensors(tmp_path):
    save_file({"a.weight": BASE.bfloat16(), "b": torch.ones(2, 3)}, tmp_path / "a.safetensors", {"license": "MIT"})
    found = read(tmp_path / "a.safetensors")
    assert found.form == "safetensors" and found.terms == "the file says MIT"
    assert torch.equal(found.state["a.weight"], BASE.bfloat16()) and found.state["b"].shape == (2, 3)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data(protocol, tmp_path):
    plain = {
        "numbers": [1, -1, 255, 70_000, 2**40, -(2**70), 0.5, True, False, None, 1 + 2j],
        "texts": ("", "red", "猫", "x" * 300, "line\nbreak"),
        "bytes": [b"", b"\x00\xff", b"y" * 300],
        "sets": {"frozen": frozenset({1, 2}), "set": {3, "b"}} if protocol > 3 else {},
        1: {(1, "a"): []},
        2.5: (1, 2, 3, 4),
    }
    wrapped = {
        "ordered": (OrderedDict(a=1), {"a": 1}),
        "default": (defaultdict(list, a=[1]), {"a": [1]}),
        "counter": (Counter("aab"), {"a": 2, "b": 1}),
        "deque": (deque([1, 2], 3), [1, 2]),
        "path": (PurePosixPath("/a/b.txt"), "/a/b.txt"),
        "dtype": (torch.float16, torch.float16),
        "size": (torch.Size([2, 3]), (2, 3)),
        "device": (torch.device("cuda", 1), "cuda:1"),
        "float": (np.float64(0.1), 0.1),
        "int": (np.int32(-7), -7),
        "text": (np.str_("abc"), "abc"),
    }
    content = plain | {name: pair[0] for name, pair in wrapped.items()}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content, protocol))
    found = open_content(tmp_path / "a.pkl").value
    assert found == plain | {name: pair[1] for name, pair in wrapped.items()}


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_arrays_become_tensors(protocol, tmp_path):
    arrays = {
        "rows": np.arange(6.0).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        "swapped": np.arange(3, dtype=">f4"),
        "none": np.empty((0, 4), np.float32),
    }
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(arrays, protocol))
    found = read(tmp_path / "a.pkl").state
    for name, array in arrays.items():
        assert torch.equal(found[name], torch.from_numpy(array.astype(array.dtype.newbyteorder("="))))


def test_objects_are_records(tmp_path):
    with foreign("mylab.config.Config", base=dict) as [Config], foreign("mylab.log.Log", base=list) as [Log]:
        config, log = Config(lr=0.1), Log([1, 2])
        config.path, log.owner = "here", config
        content = {"config": config, "log": log, "args": argparse.Namespace(epochs=3), "norm": partial(nn.LayerNorm, eps=1e-6)}
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))
    content = open_content(tmp_path / "a.pkl")
    config, log = content.value["config"], content.value["log"]
    assert isinstance(config, Record) and config.name == "mylab.config.Config"
    assert config.entries == {"lr": 0.1} and config.get("path") == "here"
    assert log.items == [1, 2] and log.get("owner") is config
    assert content.value["args"].get("epochs") == 3
    assert content.records["mylab.config.Config"] == content.records["functools.partial"] == 1
    assert repr(config) == "<record of mylab.config.Config>"


# --- publishers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("name", "build", "family"),
    [("yolov8n", yolov8, "YOLOv8 (Ultralytics)"), ("yolo11n", yolo11, "YOLO11 (Ultralytics)")],
    ids=["yolov8n", "yolo11n"],
)
def test_ultralytics(name, build, family, new, tmp_path):
    """Whole pickled modules, whose classes are not installed, in half precision."""
    state = golden(name)
    with foreign("ultralytics.nn.tasks.DetectionModel", "ultralytics.nn.modules.conv.Conv") as [Model, Conv]:
        averaged, live = tree(state, Model, Conv), tree({"model.0.conv.weight": torch.zeros(1)}, Model, Conv)
        averaged.names = {label: f"class {label}" for label in range(80)}
        averaged.register_buffer("passing", torch.zeros(1), persistent=False)
        averaged.model._modules["0"].forward_once = averaged.model._modules["0"].train  # a bound method
        content = {
            "epoch": -1,
            "ema": averaged,
            "model": live,
            "train_args": {"lr0": 0.01},
            "license": "AGPL-3.0 (https://...)",
        }
        torch.save(content, tmp_path / "best.pt", _use_new_zipfile_serialization=new)
    found = read(tmp_path / "best.pt")
    assert found.place == "ema" and found.averaged and found.family.name == family
    assert found.classes[3] == "class 3" and found.class_count == 80 and set(found.precision) == {"float16", "int64"}
    assert "AGPL-3.0" in found.terms and "the file says AGPL" in found.terms
    assert found.records["ultralytics.nn.tasks.DetectionModel"] == 2
    assert list(found.state) != [] and set(found.state) == set(state)
    detector = build("n").build(80)
    report = load_weights(detector, found.state)
    assert report.share == 1 and not report.initial and not report.unexpected
    stem = detector.backbone.stem.conv.weight
    assert torch.equal(stem, state["model.0.conv.weight"].to(stem.dtype))


def test_an_ultralytics_checkpoint_without_an_average(tmp_path):
    with foreign("ultralytics.nn.tasks.DetectionModel", "ultralytics.nn.modules.conv.Conv") as [Model, Conv]:
        torch.save({"ema": None, "model": tree(golden("yolov8n", whole=False), Model, Conv)}, tmp_path / "a.pt")
    found = read(tmp_path / "a.pt")
    assert (found.place, found.averaged, found.class_count) == ("model", False, 80)


@pytest.mark.parametrize(
    ("name", "family", "classes", "wrap"),
    [
        (
            "rtdetr_r18vd_6x_coco",
            "RT-DETR (lyuwenyu)",
            80,
            lambda state: {"ema": {"module": state, "updates": 7}, "last_epoch": 3},
        ),
        ("rmt_t", "RMT (qhfan)", 1000, lambda state: {"model": state, "args": argparse.Namespace(lr=0.1)}),
        ("repvit_m0_9", "RepViT (THU-MIG)", 1000, lambda state: {"model": state, "optimizer": {"state": {0: state}}}),
        ("emo_1m", "EMO (zhangzjn)", 1000, lambda state: {"net": state}),
        ("conv2former_n", "Conv2Former (HVision-NKU)", 1000, lambda state: {"state_dict": state, "state_dict_ema": state}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_authors_of_detectors_and_backbones(name, family, classes, wrap, tmp_path):
    state = golden(name, whole=False)
    torch.save(wrap({f"module.{name}": tensor for name, tensor in state.items()}), tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    assert found.family.name == family and found.class_count == classes and set(found.state) == set(state)
    assert (
        found.averaged == (found.place in ("ema.module", "state_dict_ema"))
        and found.place in str(wrap({}).keys()) + "ema.module"
    )
    assert ("all rights reserved" in found.terms) == (name in ("rmt_t", "emo_1m"))


def test_mmdetection(tmp_path):
    """Its own objects around the weights, NumPy arrays and scalars in them, and methods by name."""
    state = {"backbone.conv1.weight": torch.ones(2), "bbox_head.retina_cls.weight": torch.ones(20, 4, 3, 3)}
    names = ("cat", "dog")
    with foreign("mmengine.logging.history_buffer.HistoryBuffer", base=object) as [Buffer]:
        Buffer.min = lambda self: 0
        Buffer.min.__qualname__, Buffer.min.__module__ = "HistoryBuffer.min", Buffer.__module__
        buffer = Buffer()
        buffer.log, buffer.methods = np.arange(4.0), OrderedDict(min=Raw(getattr, Buffer, "min"))
        hub = {"log_scalars": {"loss": buffer}, "runtime_info": {"lr": np.float64(0.5)}}
        meta = {"epoch": 12, "dataset_meta": {"CLASSES": names}}
        torch.save({"meta": meta, "state_dict": state, "message_hub": hub}, tmp_path / "a.pth")
    found = read(tmp_path / "a.pth")
    assert found.family.name == "mmdetection" and found.classes == names
    buffer = open_content(tmp_path / "a.pth").value["message_hub"]["log_scalars"]["loss"]
    assert torch.equal(buffer.get("log"), torch.arange(4.0).double())


# --- the command -----------------------------------------------------------------------------------------------------


def test_inspect(tmp_path, capsys):
    with foreign("ultralytics.nn.tasks.DetectionModel", "ultralytics.nn.modules.conv.Conv") as [Model, Conv]:
        model = tree(golden("yolov8n", whole=False), Model, Conv)
        model.names = {0: "person", 1: "evil \x1b[2J"}
        torch.save({"model": model}, tmp_path / "yolov8n.pt")
    assert main(["inspect", str(tmp_path / "yolov8n.pt")]) == 0
    printed = capsys.readouterr().out
    for word in ("YOLOv8 (Ultralytics)", "AGPL-3.0", "float16", "found at    model", "person", "evil ?[2J", "model.22", "Conv"):
        assert word in printed, printed


def test_commands_and_files_that_do_not_exist(tmp_path, capsys):
    assert main([]) == 0 and "inspect" in capsys.readouterr().out
    assert main(["inpect", "a.pt"]) == 2 and "did you mean 'inspect'" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "a.pt")]) == 2 and "there is no file" in capsys.readouterr().err


def test_two_state_dicts_under_names_that_nobody_uses(tmp_path):
    torch.save({"encoder": {"a": BASE}, "decoder": {"a": BASE}}, tmp_path / "a.pt")
    with pytest.raises(UserError, match="neither a checkpoint of detkit nor a state dict"):
        read(tmp_path / "a.pt")
