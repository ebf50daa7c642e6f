"""Ctrl-C: each weight in its place, a run that can go on, and a second one that kills."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from detkit.train.averaging import MovingAverage
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from detkit.weights.checkpoint import read_checkpoint
from tests.train.tiny import tiny_experiment


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_validation_that_is_stopped_saves_live_and_averaged_weights_in_their_places(rectangles, tmp_path, monkeypatch, number):
    weights = {}
    start, step = MovingAverage.on_validation_epoch_start, DetectorModule.validation_step

    def before_swap(self, trainer, pl_module):
        weights["live"] = {name: value.clone() for name, value in pl_module.detector.state_dict().items()}
        start(self, trainer, pl_module)
        weights["averaged"] = {name: value.clone() for name, value in pl_module.detector.state_dict().items()}

    def stopping(self, batch, batch_idx):
        os.kill(os.getpid(), number)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(MovingAverage, "on_validation_epoch_start", before_swap)
    monkeypatch.setattr(DetectorModule, "validation_step", stopping)
    result = fit(tiny_experiment(rectangles, tmp_path), progress=False)

    assert result.interrupted
    assert result.best is None
    saved = read_checkpoint(result.run / "last.ckpt")
    assert any(not torch.equal(weights["live"][name], weights["averaged"][name]) for name in weights["live"])
    for name in saved.live:
        assert torch.equal(saved.live[name], weights["live"][name]), name
        assert torch.equal(saved.weights[name], weights["averaged"][name]), name


def test_an_error_in_training_saves_nothing_and_is_not_hidden(rectangles, tmp_path, monkeypatch):
    def broken(self, batch, batch_idx):
        raise RuntimeError("broken")

    monkeypatch.setattr(DetectorModule, "training_step", broken)
    with pytest.raises(RuntimeError, match="broken"):
        fit(tiny_experiment(rectangles, tmp_path), progress=False)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_handlers_are_put_back(rectangles, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    fit(tiny_experiment(rectangles, tmp_path, epochs=1), progress=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


SLOW_RUN = """
import sys, time
from detkit.train.fit import fit
from detkit.train.module import DetectorModule
from tests.train.tiny import tiny_experiment

step = DetectorModule.training_step
def slow(self, batch, batch_idx):
    print("step", flush=True)
    time.sleep(0.2 if len(sys.argv) == 3 else 60)
    return step(self, batch, batch_idx)
DetectorModule.training_step = slow

if __name__ == "__main__":
    result = fit(tiny_experiment(sys.argv[1], sys.argv[2], data={"workers": 1}), progress=False)
    print("interrupted" if result.interrupted else "finished", (result.run / "last.ckpt").exists(), flush=True)
"""


@pytest.fixture
def start(rectangles, tmp_path):
    """Start a slow run in a process group of its own, as a terminal does, and wait for its first step."""
    script = tmp_path / "slow_run.py"
    script.write_text(SLOW_RUN)
    started = []

    def begin(*extra):
        process = subprocess.Popen(
            [sys.executable, str(script), str(rectangles), str(tmp_path / "runs"), *extra],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        while process.stdout.readline().strip() != "step":
            assert process.poll() is None
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_workers_too_and_the_run_still_stops_well(start, number):
    process = start()
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert output.splitlines()[-1] == "interrupted True"
    assert process.returncode == 0


def test_a_second_ctrl_c_kills(start):
    process = start("asleep")
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=20) == -signal.SIGINT


def test_workers_end_when_their_run_is_killed(start):
    process = start("asleep")
    process.kill()
    process.wait(timeout=20)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    pytest.fail("a process of the group is still there")
