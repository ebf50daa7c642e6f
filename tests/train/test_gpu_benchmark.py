"""`benchmarks/gpu.py` prints its table on a CPU too, so that it will on a GPU."""

import re

import pytest
import torch

from benchmarks import gpu
from detkit.train import compiling

TINY = ["--device", "cpu", "--size", "64", "--batch", "2", "--steps", "2", "--warmup", "1", "--workers", "0"]


def test_a_row_has_both_speeds_and_the_costs_are_named(capsys):
    gpu.main([*TINY, "--models", "yolo11n", "--compile", "off"])
    printed = capsys.readouterr().out
    speeds = re.search(r"^\| yolo11n \| off \| ([\d.]+) \| ([\d.]+) \| - \| - \|$", printed, re.MULTILINE)
    assert speeds and all(float(speed) > 0 for speed in speeds.groups()), printed
    costs = re.search(r"^\* yolo11n, compile off: (.*)$", printed, re.MULTILINE)[1].split(", ")
    assert len(costs) == gpu.SHOWN
    assert all(re.fullmatch(r"\S+ \d+%", cost) for cost in costs), costs


@pytest.mark.slow
def test_all_models_compile(capsys, monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    gpu.main([*TINY, "--compile", "on"])
    printed = capsys.readouterr().out
    assert all(f"| {name} | on |" in printed for name in gpu.MODELS)


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="1"):
        gpu.main([])
    assert capsys.readouterr().err.startswith("there is no GPU that torch can use; --device cpu")


def test_what_is_seen_of_the_gpu_is_averaged(monkeypatch):
    seen = iter([40, 80])

    def look(_):
        value = next(seen, None)
        if value is None:
            watch.over.set()
        return value or 60

    monkeypatch.setattr(gpu, "EVERY", 0.001)
    monkeypatch.setattr(gpu, "utilisation", look)
    watch = gpu.Watch(torch.device("cuda"))
    watch.over.wait(5)
    assert watch.end() == pytest.approx(0.6)
    assert gpu.Watch(torch.device("cpu")).end() is None
