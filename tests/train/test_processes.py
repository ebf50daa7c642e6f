"""Two processes on the CPU: one run folder, every image scored once, the same numbers everywhere."""

import csv
import json
import os
import subprocess
import sys

import pytest
import torch

from detkit.train.evaluate import evaluate
from tests.train.tiny import write_rectangles

SCRIPT = """
import json, os, signal, sys
from pathlib import Path
from detkit.cli.config import load_config
from detkit.overrides import override
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from tests.train.tiny import tiny_experiment

def main():
    data, output, stop, changes = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    step = DetectorModule.training_step
    def stopping(self, batch, batch_idx):
        if stop == "stop" and (self.trainer.current_epoch, batch_idx, self.trainer.global_rank) == (1, 0, 1):
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, batch_idx)
    DetectorModule.training_step = stopping
    options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp"}
    if stop == "resume":
        run = Path(output) / "run" / "0"
        result = fit(override(load_config(str(run / "config.json")), changes), resume=run, progress=False)
    else:
        experiment = tiny_experiment(data, output, batch=2, epochs=3).model_copy(update={"trainer": options})
        result = fit(override(experiment, changes), progress=False)
    rank = os.environ.get("LOCAL_RANK", "0")
    seen = {"numbers": result.last and result.last.numbers, "images": result.last and result.last.images}
    Path(output, f"rank{rank}.json").write_text(json.dumps(seen | {"interrupted": result.interrupted}))

if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Five validation images, so that the processes' shares are not equal."""
    return write_rectangles(tmp_path_factory.mktemp("rectangles"), val=5)


def launch(script_folder, data, output, stop, *changes):
    script = script_folder / "two.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(data), str(output), stop, *changes]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((output / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_two_processes_share_a_run_and_score_every_image_once(data, tmp_path):
    (tmp_path / "runs").mkdir()
    first, second = launch(tmp_path, data, tmp_path / "runs", "no", "plots=true")
    assert first == second
    assert first["images"] == 5
    run = tmp_path / "runs" / "run" / "0"
    assert list(run.parent.iterdir()) == [run]
    assert (run / "plots" / "best" / "f1.png").is_file()
    assert first["numbers"]["AP"] > 0
    alone = evaluate(run / "last.ckpt", ["trainer.accelerator=cpu"], progress=False).result
    assert alone.numbers == pytest.approx(first["numbers"], abs=1e-6)
    with (run / "metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3"]


@pytest.mark.slow
def test_two_processes_stop_together_and_resume_to_the_bit(data, tmp_path):
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    launch(tmp_path, data, tmp_path / "whole", "no")
    assert all(seen["interrupted"] for seen in launch(tmp_path, data, tmp_path / "stopped", "stop"))
    launch(tmp_path, data, tmp_path / "stopped", "resume")
    ours, theirs = (torch.load(tmp_path / name / "run/0/last.ckpt", weights_only=True) for name in ("stopped", "whole"))
    for entry in ("state_dict", "current_model_state"):
        for name, value in ours[entry].items():
            assert torch.equal(value, theirs[entry][name]), f"{entry}.{name}"
    for mine, other in zip(ours["random"], theirs["random"], strict=True):
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert not torch.equal(ours["random"][0]["torch"], ours["random"][1]["torch"])
