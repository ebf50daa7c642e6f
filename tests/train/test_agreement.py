"""Which process writes, and what processes must have in common; `tests.train.test_launches` shows both with real ones."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.utilities import rank_zero_only

from detkit.data.layout import open_data
from detkit.errors import UserError
from detkit.train import agreement
from detkit.train.agreement import Agreement, is_first_process
from detkit.train.loaders import Loaders
from tests.train.tiny import tiny_experiment, write_rectangles


@pytest.mark.parametrize(
    ("rank", "node", "nodes", "first"),
    [(0, None, 1, True), (0, "0", 2, True), (0, "1", 2, False), (1, "0", 2, False), (0, "3", 1, True)],
    ids=["alone", "first of two", "first of the second machine", "second", "a number that is no part of this run"],
)
def test_one_process_writes(monkeypatch, rank, node, nodes, first):
    monkeypatch.setattr(rank_zero_only, "rank", rank)
    monkeypatch.delenv("GROUP_RANK", raising=False)
    monkeypatch.delenv("NODE_RANK", raising=False)
    if node is not None:
        monkeypatch.setenv("NODE_RANK", node)
    assert is_first_process({"num_nodes": nodes}) == first


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """The same data set in two places."""
    folder = tmp_path_factory.mktemp("data")
    return [write_rectangles(folder / name, train=4, val=2) for name in ("first", "second")]


def said(monkeypatch, root, step=0, **changes):
    """Return what a process says of itself before and at the start of training."""
    shares = []
    monkeypatch.setattr(agreement, "gathered", lambda trainer, mine: shares.append(mine) or [mine])
    experiment = tiny_experiment(root, "runs", **changes)
    splits = open_data(experiment.data)
    loaders = Loaders(experiment, splits.val, splits.train)
    trainer = SimpleNamespace(datamodule=loaders, current_epoch=0, global_step=step)
    callback = Agreement()
    callback.setup(trainer, None, "fit")
    callback.on_train_start(trainer, None)
    return shares


def compare(monkeypatch, *processes):
    """Compare what processes say at each of the two moments."""
    for shares in zip(*processes, strict=True):
        monkeypatch.setattr(agreement, "gathered", lambda trainer, mine, shares=shares: list(shares))
        agreement._compare(None, shares[-1])


def test_the_same_data_elsewhere_are_the_same(monkeypatch, roots):
    compare(monkeypatch, said(monkeypatch, roots[0]), said(monkeypatch, roots[1]))


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({"data": {"limit": 3}}, "process 1 has other training images than the first"),
        ({"batch": 2}, "process 1 has other settings than the first"),
        ({"step": 15}, "process 1 has another checkpoint than the first"),
    ],
    ids=["data", "command", "checkpoint"],
)
def test_what_differs_is_named(monkeypatch, roots, different, words):
    with pytest.raises(UserError, match=words):
        compare(monkeypatch, said(monkeypatch, roots[0]), said(monkeypatch, roots[1], **different))
