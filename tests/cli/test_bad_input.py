"""What users get wrong gives one sentence and status 2: no traceback, and nothing lost."""

import json
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detkit.cli import demo, predict, train
from detkit.cli import eval as eval_command
from detkit.cli import list as list_command
from detkit.cli.main import main as detkit_main
from tests.train.tiny import tiny_experiment

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs" / "yolo11n.py")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def complaint(capsys, command, *words):
    """The sentence on standard error, and its shape checked."""
    assert command([str(word) for word in words]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ") and "Traceback" not in error
    return error.removeprefix("error: ")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.epoch=50", "recipe: no field 'epoch'; did you mean 'epochs'?"),
        ("recpe.epochs=50", "Experiment: no field 'recpe'; did you mean 'recipe'?"),
        ("recipe.augment.mosiac=0", "recipe.augment: no field 'mosiac'; did you mean 'mosaic'?"),
        (
            "model.backbone.stages.0.unit.shortcuts=1",
            "model.backbone.stages.0.unit: no field 'shortcuts'; did you mean 'shortcut'?",
        ),
        ("recipe.epochs=many", "recipe.epochs: input should be a valid integer"),
        ("recipe.epochs=0", "recipe.epochs: input should be greater than or equal to 1"),
        ("data.size=500", "data.size: 500 is no multiple of 32; write 512"),
        ("data.size=16", "data.size: input should be greater than or equal to 32 (got 16)"),
        ("data.resize=crop", "data.resize: input should be 'letterbox' or 'stretch'"),
        ("model.backbone=RepVit9", "model.backbone: no backbone 'RepVit9'"),
        ("model.criterion.box_loss=CIou", "model.criterion.box_loss: no box loss 'CIou'; did you mean 'CIoU'?"),
        ("model.after.p4=Botleneck", "model.after.p4: no block or insert 'Botleneck'; did you mean 'Bottleneck'?"),
        ("model.after.c9=Bottleneck", "model.after: nobody reads a level 'c9'; there are c3, c4, c5, p3, p4, p5"),
        ("recipe.freeze=backbon", "recipe.freeze: "),
        ("model.backbone=PAN", "model.backbone: no backbone 'PAN'"),
        ("trainer.precison=16", "trainer: Lightning's Trainer has no argument 'precison'; did you mean 'precision'?"),
        ("trainer.max_epochs=3", "trainer.max_epochs"),
        ("recipe.optimizer=Adamw", "recipe.optimizer: no optimizer 'Adamw'; did you mean 'AdamW'?"),
        ("epochs", "'epochs' is not an override"),
    ],
)
def test_overrides(capsys, override, message):
    text = complaint(capsys, train.main, CONFIG, override, "data.root=does/not/matter", "--print")
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.criterion.dense=DenseProposal", "no dense proposals 'DenseProposal'; did you mean 'DenseProposals'?"),
        ("model.criterion.class_loss=Mal", "no class loss 'Mal'; did you mean 'MAL'?"),
        ("model.criterion.matcher=Hungaria", "no matcher 'Hungaria'; did you mean 'Hungarian'?"),
        ("model.criterion.matcher.clas_cost=1", "no field 'clas_cost'"),
        ("model.head.eval_layer=9", "eval_layer should be at most the depth, 3 (got 9)"),
        ("model.neck.intra=AIFY", "no block 'AIFY'; did you mean 'AIFI'?"),
        ("model.remix=HRAMI", "no neck 'HRAMI'; did you mean 'HRAMi'?"),
    ],
)
def test_overrides_of_rtdetr(capsys, override, message):
    text = complaint(capsys, train.main, ROOT / "configs" / "rtdetr_hrami.py", override, "data.root=does/not/matter", "--print")
    assert text.startswith(override.split("=")[0].rpartition(".")[0]) and message in text


@pytest.mark.parametrize("words", [("--print",), ()], ids=["print", "train"])
def test_frozen_norms_without_weights_are_told_before_the_data_is_opened(capsys, words):
    config = ROOT / "configs" / "rtdetr_r18.py"
    text = complaint(capsys, train.main, config, "model.backbone.norm=frozen", "data.root=does/not/matter", *words)
    assert "is a frozen batch norm" in text and "model.backbone.norm=batch" in text


def test_configs(capsys, tmp_path):
    assert complaint(capsys, train.main, ROOT / "configs" / "yolo11q.py").startswith("no file '")
    assert "did you mean" in complaint(capsys, train.main, ROOT / "configs" / "yolo11q.py")
    assert "which config?" in complaint(capsys, train.main, "data.root=x")
    assert "is a folder" in complaint(capsys, train.main, ROOT / "configs")
    for text, message in {
        "x = 1": "defines no 'config'",
        "config = 3": "has a 'config' that is a int",
        "import nothing_like_this": "line 1: ModuleNotFoundError: No module named 'nothing_like_this'",
        "a = 1\nb = (": "line 2: SyntaxError",
        "from detkit.recipes import Recipe\n\nRecipe(epoch=3)": "line 3: Recipe: no field 'epoch'; did you mean 'epochs'?",
        "from detkit.zoo import yolo11\nyolo11('q')": "line 2: zoo.yolo11: no scale 'q'",
        "from detkit.zoo import yolo11\nyolo11('n', bakbone=None)": "line 2: zoo.yolo11: no slot 'bakbone'; did you mean",
    }.items():
        file = tmp_path / "mine.py"
        file.write_text(text)
        assert message in complaint(capsys, train.main, file)
    (tmp_path / "config.json").write_text("{")
    assert "is not JSON" in complaint(capsys, train.main, tmp_path / "config.json")
    assert "no module 'mylab'" in complaint(capsys, train.main, CONFIG, "--import", "mylab.blocks")


def test_a_config_may_bear_the_name_of_a_library(tmp_path):
    (tmp_path / "lightning.py").write_text((ROOT / "configs" / "yolo11n.py").read_text())
    words = [sys.executable, str(ROOT / "tools" / "train.py"), "lightning.py", "trainer.devices=1", "--print"]
    assert subprocess.run(words, cwd=tmp_path, check=False).returncode == 0


def test_data_roots(capsys, tmp_path, broken):
    def message(*words):
        return complaint(capsys, train.main, CONFIG, *words)

    assert "data.root=nowhere does not exist" in message("data.root=nowhere")
    (tmp_path / "empty").mkdir()
    assert "data.root=empty is empty" in message("data.root=empty")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "notes.txt").write_text("x")
    assert "no layout that is known" in message("data.root=odd")
    root = broken()
    file = root / "annotations" / "instances_train2017.json"
    whole = file.read_text()
    for text, expected in {"hello": "JSON", whole[: len(whole) // 2]: "JSON", "{}": "images", "[1]": "COCO"}.items():
        file.write_text(text)
        answer = message(f"data.root={root}")
        assert str(file) in answer and expected in answer
    file.write_text(json.dumps(json.loads(whole) | {"images": []}))
    assert str(file) in message(f"data.root={root}")
    file.write_text(json.dumps(json.loads(whole) | {"annotations": []}))
    assert "no usable box" in message(f"data.root={root}")
    file.write_text(whole)
    shutil.move(root / "train2017" / "1.png", tmp_path / "1.png")
    assert "1 of the 4 images" in message(f"data.root={root}")
    assert not (tmp_path / "runs").exists()


def test_a_category_that_training_does_not_know(capsys, broken):
    def rename(content):
        content["categories"][0]["name"] = "rouge"

    text = complaint(capsys, train.main, CONFIG, f"data.root={broken(val=rename)}")
    assert "has the category 'rouge'" in text and "red, blue" in text


def test_bad_boxes_are_mended_or_dropped_and_counted_but_never_the_image(broken, caplog):
    from detkit.data.layout import open_data

    def spoil(content):
        first, second, third, *_ = content["annotations"]
        first["bbox"] = [-20, 10, 200, 20]
        second["bbox"] = [10, 10, 0, 5]
        third["bbox"] = [float("nan"), 1, 5, 5]

    experiment = tiny_experiment(broken(train=spoil), "runs")
    splits = open_data(experiment.data)
    assert len(splits.train) == 4
    notes = "\n".join(splits.notes)
    assert all(word in notes for word in ("instances_train2017.json", "clipped", "dropped")), notes


@pytest.fixture(scope="module")
def run(rectangles, tmp_path_factory):
    from detkit.train.fit import fit

    experiment = tiny_experiment(rectangles, tmp_path_factory.mktemp("run"), epochs=1)
    return fit(experiment, progress=False).run


def test_checkpoints(capsys, tmp_path, run, rectangles):
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes((run / "best.ckpt").read_bytes()[:5000])
    text = tmp_path / "text.ckpt"
    text.write_text("hello")
    other = tmp_path / "other.ckpt"
    torch.save({"weight": torch.zeros(3)}, other)
    content = torch.load(run / "best.ckpt", weights_only=True)
    content["experiment"]["model"]["backbone"]["stem"] = 16
    changed = tmp_path / "changed.ckpt"
    torch.save(content, changed)
    for command, rest in ((eval_command.main, [f"data.root={rectangles}"]), (predict.main, [rectangles / "val2017"])):
        for file in (cut, text, other, tmp_path / "none.ckpt", changed):
            assert str(file) in complaint(capsys, command, file, *rest)
    for file in (cut, text, other):
        words = complaint(capsys, train.main, CONFIG, f"data.root={rectangles}", "data.size=64", f"init={file}")
        assert words.startswith(f"init={file}: ")


def test_a_user_part_that_is_not_imported_is_named_with_its_module(capsys, tmp_path, run, rectangles):
    content = torch.load(run / "best.ckpt", weights_only=True)
    content["experiment"]["model"]["after"]["p3"]["block"]["type"] = "Vanished"
    content["modules"] = ["mylab.blocks"]
    file = tmp_path / "user.ckpt"
    torch.save(content, file)
    text = complaint(capsys, predict.main, file, rectangles / "val2017")
    assert "no block 'Vanished'" in text and "--import mylab.blocks" in text


def test_resuming(capsys, tmp_path, run):
    assert "no config.json there" in complaint(capsys, train.main, "--resume", tmp_path)
    assert "finished its 1 epochs" in complaint(capsys, train.main, "--resume", run)
    other_model = complaint(capsys, train.main, "--resume", run, "recipe.epochs=2", "model.backbone.stem=16")
    assert other_model.startswith("model: a resumed run keeps its own")


RTDETR_CONFIG = """
from pathlib import Path
from detkit.experiment import Experiment
from detkit.zoo import rtdetr
with Path("read.txt").open("a") as file:
    file.write("once ")
config = Experiment(model=rtdetr({size}, norm="batch"))
"""


def test_a_demo_whose_settings_do_not_fit_says_so(capsys):
    Path("mine.py").write_text(RTDETR_CONFIG.format(size="'hgnetv2_l'"))
    text = complaint(capsys, demo.main, "mine.py", "recipe.epochs=1")
    assert text == "mine.py: the demo's own settings don't fit this config; write tools/train.py mine.py"


def test_a_demo_reads_its_config_once(capsys):
    Path("mine.py").write_text(RTDETR_CONFIG.format(size="'r50'"))
    assert "no field 'epoch'" in complaint(capsys, demo.main, "mine.py", "recipe.epoch=1")
    assert Path("read.txt").read_text() == "once "


def test_how_to_resume_names_what_the_run_needs(tmp_path, monkeypatch):
    stored = tmp_path / "a b" / "0"
    stored.mkdir(parents=True)
    (stored / "config.json").write_text(json.dumps({"modules": ["my parts.py"]}))
    monkeypatch.setattr(sys, "argv", ["bin/detkit", "train"])
    assert shlex.split(train.resuming(stored)) == ["detkit", "train", "--resume", str(stored), "--import", "my parts.py"]


def test_families_and_commands(capsys):
    assert complaint(capsys, list_command.main, "blok") == "no family 'blok'; did you mean 'block'?"
    for word, family in {"points": "head", "eval-layer": "head", "gain": "'dense proposals'"}.items():
        text = complaint(capsys, list_command.main, word)
        assert text.startswith(f"{word} is no part but a value, in ") and f"; tools/list.py {family} shows it" in text
    text = complaint(capsys, list_command.main, "norm")
    assert "in HGNetv2, PResNet, HGConv" in text and "; tools/list.py backbone or block shows it with its default" in text
    names = complaint(capsys, list_command.main, "xyzzy").partition("; there are: ")[2].split(", ")
    assert len(names) == len(set(names)) > 30
    assert complaint(capsys, list_command.main, "matchr") == "no family 'matchr'; did you mean 'matcher'?"
    assert "did you mean 'train'?" in complaint(capsys, detkit_main, "tain")


def test_debug_shows_the_traceback(capsys):
    assert train.main([CONFIG, "recipe.epoch=50", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_typo_is_told_within_two_seconds_beyond_importing_torch():
    def seconds(*command):
        """Processor time, which says the same on a busy machine."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done

    torch_alone = min(seconds("-c", "import torch")[0] for _ in range(2))
    runs = [seconds(str(ROOT / "tools" / "train.py"), CONFIG, "recipe.epoch=50") for _ in range(2)]
    for _, done in runs:
        assert done.returncode == 2 and done.stderr == "error: recipe: no field 'epoch'; did you mean 'epochs'?\n"
    assert min(took for took, _ in runs) - torch_alone < 2
