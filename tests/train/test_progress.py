"""What a user sees: a bar in a terminal, a line an epoch elsewhere."""

import re
import sys

import pytest

from detkit.train.fit import fit
from tests.train.tiny import tiny_experiment


def test_lines_where_there_is_no_terminal(rectangles, tmp_path, capsys):
    fit(tiny_experiment(rectangles, tmp_path, epochs=2, eval_every=2))
    seen = capsys.readouterr()
    assert seen.out == ""
    first, second = seen.err.splitlines()
    assert re.fullmatch(r"epoch 1/2  loss [\d.]+  [\d.]+ images/s  \d+:\d\d left", first)
    assert re.fullmatch(r"epoch 2/2  loss [\d.]+  AP [\d.]+  [\d.]+ images/s  00:00 left", second)


def test_a_bar_in_a_terminal(rectangles, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(tiny_experiment(rectangles, tmp_path, epochs=2))
    seen = capsys.readouterr()
    assert seen.out == ""
    assert re.search(r"epoch 2/2: .*5/5, loss=[\d.]+, AP=[\d.]+, images/s=[\d.]+, left=00:00", seen.err)


def test_silence(rectangles, tmp_path, capsys):
    fit(tiny_experiment(rectangles, tmp_path, epochs=1), progress=False)
    seen = capsys.readouterr()
    assert (seen.out, seen.err) == ("", "")


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "64-true"])
def test_half_precision_trains(rectangles, tmp_path, precision):
    experiment = tiny_experiment(rectangles, tmp_path, epochs=1)
    options = {"accelerator": "cpu", "precision": precision}
    result = fit(experiment.model_copy(update={"trainer": options}), progress=False)
    assert result.last is not None
