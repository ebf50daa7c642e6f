"""``kill -9``: a run goes on from its newest checkpoint and ends as the one that nothing disturbed."""

import json
import os
import subprocess
import sys

import pytest

from detkit.errors import UserError
from detkit.train.checkpoints import newest_checkpoint
from tests.train.kills import Kill, Runs, assert_same_runs, step

KILLS = 20


@pytest.fixture(scope="module")
def runs(rectangles, tmp_path_factory):
    return Runs("yolo", 1, rectangles, tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def whole(runs):
    """The run that nothing disturbed."""
    return runs.whole("whole")[0]


def test_kills_between_and_within_the_writes_of_checkpoints(runs, whole):
    first_best_before_any_last = Kill("renamed", 3)  # config.json, metrics.csv, best.ckpt
    half_of_last_after_best = Kill("half", 4)  # of the second epoch: config.json, metrics.csv, best.ckpt, last.ckpt
    all_of_last = Kill("unsynced", 3)  # of the third, which is not the best
    run = runs.killed("killed", [first_best_before_any_last, half_of_last_after_best, all_of_last], every=None)
    assert runs.lost == [0, 0, 2]
    assert_same_runs(run, whole)


def test_a_later_best_checkpoint_becomes_the_last_one(whole, tmp_path, caplog):
    best, last = tmp_path / "best.ckpt", tmp_path / "last.ckpt"
    with pytest.raises(UserError, match="it stopped before its first checkpoint; start it anew"):
        newest_checkpoint(tmp_path)
    best.write_bytes((whole / "best.ckpt").read_bytes())
    assert step(newest_checkpoint(tmp_path)) == step(last) == 6
    last.write_bytes((whole / "last.ckpt").read_bytes())
    assert newest_checkpoint(tmp_path) == last and step(last) == 9
    best.write_bytes(b"damaged")
    assert newest_checkpoint(tmp_path) == last
    assert f"{best} is left aside: {best} is not a checkpoint, or was cut short" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2], ids=["one process", "two processes"])
@pytest.mark.parametrize("family", ["yolo", "rtdetr"])
def test_runs_that_are_killed_at_random_moments_end_as_if_they_were_not(rectangles, tmp_path, family, world):
    """About 45 s of one core with one process, 95 s with two; the seed is the number of processes."""
    words = [family, str(world), str(KILLS), str(world), str(rectangles), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.train.kills", *words]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
    assert {"training", "half"} <= set(json.loads(done.stdout)["kinds"]), "between the writes of a checkpoint, and within"
