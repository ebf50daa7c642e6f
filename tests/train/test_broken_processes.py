"""A step that breaks in one of two processes is skipped by both."""

import pickle
import sys

import pytest

from tests.train.broken_processes import CASES
from tests.train.launching import by_hand, launch
from tests.train.test_resume import assert_same

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def ranks(rectangles, folder):
    """What each of two processes found."""
    launch(*by_hand([sys.executable, "-m", "tests.train.broken_processes", str(rectangles), str(folder)]), timeout=900)
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in (0, 1)]


@pytest.mark.parametrize(("family", "where", "limit"), [case for case in CASES if case[2] > 1], ids=str)
def test_both_skip_it_and_stay_equal(ranks, folder, family, where, limit):
    (first, weights), (second, others) = (seen[family, where, limit] for seen in ranks)
    assert first == second == 1
    parameters = [name for name in weights[0]["live"] if "running" not in name and "batches" not in name]
    for step, (ours, theirs) in enumerate(zip(weights, others, strict=True)):
        for name in parameters:
            assert_same(ours["live"][name], theirs["live"][name], f"{step}: {name}")
    for seen in (weights, others):
        assert_same(seen[1]["live"], seen[0]["live"])
        assert_same(seen[1]["average"], seen[0]["average"])
    run = folder / f"{family}-{where}-{limit}" / "0"
    files = [path.relative_to(run / "broken").as_posix() for path in (run / "broken").glob("**/*.pt")]
    expected = ["process-1/step-000002.pt"] + ["step-000002.pt"] * (where == "gradient")
    assert sorted(files) == expected, "of a gradient nobody knows whose it is"


@pytest.mark.parametrize(("family", "where", "limit"), [case for case in CASES if case[2] == 1], ids=str)
def test_both_stop_with_the_same_words(ranks, family, where, limit):
    (first, _), (second, _) = (seen[family, where, limit] for seen in ranks)
    assert first == second
    assert first.startswith(
        "1 steps in a row broke; in the last one, step 1 (epoch 1, batches 1 to 2), losses that are not finite: "
    )
    part, images = first.split("First not finite is the output of ")[1].split(". ")[0].split(", of ")
    assert part.startswith("backbone.stem.") and images.count(".png") == 1, "in the second process alone"
    assert "broken/process-1/step-000001.pt" in first or family == "yolo", (
        "YOLO's losses are divided by a sum over all processes"
    )
