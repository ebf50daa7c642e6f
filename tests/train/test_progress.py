"""What a user sees: a bar in a terminal, a line an epoch elsewhere."""

import csv
import re
import sys

import pytest

from detkit.train.fit import fit
from tests.train.tiny import tiny_experiment


def told(run):
    """Return of each epoch what is told of it, by ``metrics.csv``: loss and, where it was evaluated, AP."""
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [[f"{float(row[name]):.3f}" for name in ("loss", "AP") if row[name]] for row in rows]


def test_lines_where_there_is_no_terminal_say_what_the_table_says(rectangles, tmp_path, capsys):
    result = fit(tiny_experiment(rectangles, tmp_path, epochs=4, eval_every=2))
    seen = capsys.readouterr()
    assert seen.out == ""
    lines, numbers = seen.err.splitlines(), told(result.run)
    assert [len(row) for row in numbers] == [1, 2, 1, 2], "every second epoch is evaluated"
    for epoch, (line, row) in enumerate(zip(lines, numbers, strict=True), 1):
        shown = "  ".join(f"{name} {value}" for name, value in zip(("loss", "AP"), row, strict=False))
        assert re.fullmatch(rf"epoch {epoch}/4  {shown}  [\d.]+ images/s  \d+:\d\d left", line)


def test_a_bar_in_a_terminal_ends_with_what_the_table_says(rectangles, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    result = fit(tiny_experiment(rectangles, tmp_path, epochs=2))
    seen = capsys.readouterr()
    assert seen.out == ""
    [_, [loss, ap]] = told(result.run)
    assert re.search(r"epoch 2/2: .*5/5, loss=[\d.]+, AP=[\d.]+, images/s=[\d.]+, left=00:00", seen.err)
    assert re.search(rf"5/5, loss={loss}, AP={ap}, images/s=[\d.]+, left=00:00\s*$", seen.err)


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
