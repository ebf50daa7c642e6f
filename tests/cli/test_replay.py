"""A step that broke in a run, taken again by the tool."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from detkit.cli.replay import main
from detkit.errors import UserError
from detkit.parts import Insert
from detkit.structures import Targets
from detkit.train.examine import odd_boxes
from detkit.train.fit import fit
from detkit.train.replay import replay
from tests.train.brittle import Brittle
from tests.train.test_broken import plant
from tests.train.tiny import tiny_experiment, tiny_model, tiny_rtdetr

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def broken(rectangles, tmp_path_factory):
    """The file of a step without any fault of its own, as what broke it is no part of it."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, "loss", (0, 2))
        result = fit(tiny_experiment(rectangles, tmp_path_factory.mktemp("runs"), epochs=1, multi_scale=0.0), progress=False)
    return result.run / "broken" / "step-000002.pt"


def test_the_tool_tells_what_is_finite(broken, tmp_path):
    file = Path(shutil.copy(broken, tmp_path))
    words = [sys.executable, str(ROOT / "tools" / "replay.py"), str(file), "--import", "tests.train.tiny"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert printed[0] == "step 2 (epoch 1, batches 3 to 4) of process 0, 32-true; again on cpu in 32-true"
    assert f"batch 3, {tmp_path / 'step-000002-batch-3.jpg'}" in printed and printed[-1] == "nothing breaks in 32-true"
    assert sum(line.endswith("in the run inf") for line in printed) == 1
    losses = re.findall(r"loss (\w+) +(\S+) +in the run (\S+)", done.stdout)
    assert len(losses) == 6 and all(now == then for _, now, then in losses if then != "inf"), "the same to the last digit"
    assert sum(str(ROOT) not in line and ".png: " in line for line in printed) == 8
    assert (tmp_path / "step-000002-batch-3.jpg").is_file() and (tmp_path / "step-000002-batch-4.jpg").is_file()


@pytest.fixture(scope="module")
def brittle(rectangles, tmp_path_factory):
    """Return a function that gives the file of a step that breaks by itself."""
    made = {}

    def file(family, backward):
        if (family, backward) not in made:
            after = {"p3": Insert(block=Brittle(backward=backward), gate=False)}
            model = {"yolo": tiny_model(), "rtdetr": tiny_rtdetr()}[family].model_copy(update={"after": after})
            settings = {"epochs": 1, "nominal_batch": None, "broken_steps": 1}
            experiment = tiny_experiment(rectangles, tmp_path_factory.mktemp("runs"), model=model, **settings)
            with pytest.raises(UserError, match="1 steps in a row"):
                fit(experiment, progress=False)
            [made[family, backward]] = (Path(experiment.output) / "run" / "0" / "broken").iterdir()
        return made[family, backward]

    return file


@pytest.mark.parametrize("precision", [None, "bf16", "fp16", "64"])
@pytest.mark.parametrize("family", ["yolo", "rtdetr"])
def test_an_image_that_breaks_is_found_in_every_precision(brittle, family, precision):
    [batch] = replay(brittle(family, backward=False), precision).batches
    assert batch.found.bad_losses and batch.found.module == "after.p3.block (BrittleBlock)" and batch.found.parameter is None
    assert len(batch.found.images) == 1 and len(batch.images) == 4
    assert all(image.alone.bad_losses for image in batch.images), "alone, each has the largest mean"
    assert batch.picture.is_file()


@pytest.mark.parametrize("family", ["yolo", "rtdetr"])
def test_a_gradient_that_breaks_is_found(brittle, family):
    [batch] = replay(brittle(family, backward=True)).batches
    assert batch.found.module is None and not batch.found.bad_losses and not batch.found.healthy
    assert batch.found.parameter.startswith("neck.")
    [again] = replay(brittle(family, backward=True), anomaly=True).batches
    assert "'MulBackward0' returned nan values" in again.found.anomaly and "brittle.py" in again.found.anomaly


def test_unusual_boxes_are_noted():
    boxes = [[5, 5, 5, 9], [1, 1, 1.5, 9], [0, 0, 64, 48], [-1, 0, 3, 3], [7, 7, 9, 9], [7, 7, 9, 9], [torch.nan, 0, 3, 3]]
    many = torch.tensor([[2.0, 2, 8, 8]]) + torch.rand(301, 1, generator=torch.Generator().manual_seed(0))
    targets = Targets.pack(
        [torch.tensor(boxes), many], [torch.zeros(7, dtype=torch.int64), torch.zeros(301, dtype=torch.int64)]
    )
    first, second = odd_boxes(targets, (48, 64))
    kinds = ("not finite", "without area", "thinner than a pixel", "as large as the image", "beyond the border", "there before")
    assert first == [f"1 {kind}" for kind in kinds]
    assert second == ["301 in all"]


def test_a_file_of_something_else_is_refused(broken, tmp_path, capsys):
    assert main([str(broken.parent.parent / "last.ckpt")]) == 2
    assert "last.ckpt holds no step; give a file of a run's folder broken/" in capsys.readouterr().err
    (tmp_path / "cut.pt").write_bytes(broken.read_bytes()[:-2000])
    assert main([str(tmp_path / "cut.pt")]) == 2
    assert "is not a checkpoint, or was cut short" in capsys.readouterr().err
