"""tools/profile.py: its table, its files, its ranking."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from detkit.cli import profile
from detkit.profiling.table import escaped

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
from detkit.experiment import Experiment
from tests.networks import small_yolo, small_rtdetr

config = Experiment(model={model})
"""
BROKEN = """
from detkit.parts import BackboneSpec

class Broken(BackboneSpec):
    def build(self, levels=None):
        raise ValueError("it does not want to")
"""


@pytest.fixture
def configs(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    models = {"first_one": "small_yolo()", "second": "small_yolo(top=())", "third": "small_rtdetr()"}
    for name, model in models.items():
        (tmp_path / f"{name}.py").write_text(CONFIG.format(model=model))
    return [str(tmp_path / f"{name}.py") for name in models]


SIZE = ("--size", "64", "96", "--classes", "3")


def test_a_row_a_config_with_its_difference_to_the_first(configs, tmp_path, capsys):
    files = [f"--{kind}={tmp_path / 'tables' / kind}" for kind in ("csv", "markdown", "latex")]
    assert profile.main([*configs, *SIZE, "--repeats", "2", "--device", "cpu", *files]) == 0
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.split("\n\n")[0].splitlines()]
    assert [row[0] for row in rows] == ["detector", "first_one", "second", "difference", "in", "third", "difference", "in"]
    assert {row[1] for row in rows} >= {"64x96"} and rows[0][-1] == "MB"
    for words in ("2 for a multiply-accumulate", "Not counted, for want of a formula: topk.", "thread", "torch"):
        assert words in printed
    with (tmp_path / "tables" / "csv").open() as file:
        records = list(csv.DictReader(file))
    first, second, third = (int(record["parameters"]) for record in records)
    assert int(records[1]["parameters_difference"]) == second - first < 0
    assert float(records[2]["parameters_percent"]) == pytest.approx(100 * (third - first) / first)
    assert f"{second - first:+,}" in printed and float(records[0]["p50_ms"]) > 0 and float(records[0]["memory_mb"]) > 0
    assert r"first\_one & 64x96 & " in (tmp_path / "tables" / "latex").read_text()
    assert "| first_one | 64x96 | " in (tmp_path / "tables" / "markdown").read_text()


def test_counting_alone_takes_overrides_and_shows_roles(configs, capsys):
    words = ["--no-latency", "--layers", "--depth", "2", "model.after.c5=MobiVari", *SIZE]
    assert profile.main([configs[0], *words]) == 0
    printed = capsys.readouterr().out
    for role in ("backbone.stages ", "top.c2psa ", "after.c5 ", "head.box_branch "):
        assert f"\n{role}" in printed
    assert "p50" not in printed and "memory" not in printed


def test_ranking_sorts_what_fits_and_names_what_does_not(configs, tmp_path, capsys):
    (tmp_path / "broken_backbone.py").write_text(BROKEN)
    words = ["--rank", "backbone", "--no-latency", "--import", str(tmp_path / "broken_backbone.py"), *SIZE]
    assert profile.main([configs[0], *words]) == 0
    printed = capsys.readouterr().out
    names = [line.split()[0] for line in printed.split("\n\n")[0].splitlines() if "64x96" in line]
    assert names[0] == "first_one" and set(names) >= {"CSPBackbone", "PResNet", "HGNetv2"}
    assert names.index("CSPBackbone") < names.index("PResNet")
    assert "Broken does not fit: it does not want to" in printed and "Broken" not in names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rank", "backbon"], "did you mean 'backbone'"),
        (["--size", "65"], "data.size: 65 is no multiple of 32; write 64"),
        (["--device", "abacus"], "device 'abacus' cannot be used here"),
        (["model.neck.intra=none", "--no-latency"], "no field 'intra'"),
    ],
)
def test_mistakes_are_told_in_a_sentence(configs, capsys, words, said):
    assert profile.main([configs[0], *words]) == 2
    assert said in capsys.readouterr().err


def test_ranking_is_of_one_config(configs, capsys):
    assert profile.main([*configs, "--rank", "backbone"]) == 2
    assert "changes one config; 3 are given" in capsys.readouterr().err


def test_latex_special_characters_are_escaped():
    assert escaped(r"a_b & 5% #{}$ \ ~ ^") == (r"a\_b \& 5\% \#\{\}\$ \textbackslash{} \textasciitilde{} \textasciicircum{}")


def test_the_tool_does_not_hide_pythons_own_profile():
    words = "import cProfile, profile; cProfile.Profile().runcall(print, profile.Profile.__name__)"
    done = subprocess.run([sys.executable, "-c", words], cwd=ROOT / "tools", capture_output=True, text=True, check=False)
    assert done.stdout == "Profile\n", done.stderr
    help_ = subprocess.run(
        [sys.executable, "tools/profile.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "--rank SLOT" in help_.stdout, help_.stderr
