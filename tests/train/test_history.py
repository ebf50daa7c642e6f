"""The best epoch, and rows that grow."""

import csv
from types import SimpleNamespace

import pytest
import torch

from detkit.evaluation.coco import ClassResult, CocoResult
from detkit.evaluation.confidence import WorkingPoint
from detkit.train.history import History, parse, plain
from detkit.weights.checkpoint import write_checkpoint

SCALARS = ["AP", "AP50", "APs", "precision", "recall", "F1", "confidence"]


def scored(ap):
    point = WorkingPoint(0.25, 0.5, 1.0, 2 / 3)
    return CocoResult(
        {"AP": ap, "AP50": ap, "APs": -1.0}, {"cat": ClassResult(ap, ap, 3, -1, ap, -1, 0.5, 1.0, 2 / 3)}, 2, 3, (), point
    )


def live(history, epoch, ap=None, loss=1.0):
    """Let a history see one epoch of two batches."""
    trainer = SimpleNamespace(
        current_epoch=epoch,
        is_global_zero=True,
        global_step=2 * epoch,
        strategy=SimpleNamespace(reduce=lambda value, reduce_op: value),
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])],
    )
    module = SimpleNamespace(
        result=None if ap is None else scored(ap), losses={}, skipped=0, dropped=False, log_dict=lambda *_, **__: None
    )
    history.on_train_start(trainer, module)
    history.on_train_epoch_start(trainer, module)
    for factor in (1, 3):
        trainer.global_step += 1
        module.losses = {"box": torch.tensor(loss * factor), "class": torch.tensor(0.5)}
        history.on_train_batch_end(trainer, module, None, None, 0)
    history.on_train_epoch_end(trainer, module)


def table(file):
    with file.open() as lines:
        return list(csv.DictReader(lines))


def test_the_first_of_equal_epochs_is_best(tmp_path):
    history = History(tmp_path / "metrics.csv")
    for epoch, ap in enumerate([0.1, 0.3, 0.3 + 1e-12, 0.2]):
        live(history, epoch, ap)
    assert history.best == (2, scored(0.3))
    assert history.last == (4, scored(0.2))


def test_losses_are_means_over_batches(tmp_path):
    history = History(tmp_path / "metrics.csv")
    live(history, 0, loss=1.0)
    (row,) = table(tmp_path / "metrics.csv")
    assert (float(row["loss_box"]), float(row["loss_class"]), float(row["loss"])) == (2.0, 0.5, 2.5)
    assert float(row["lr"]) == pytest.approx(0.1)


def test_columns_that_come_later_leave_earlier_cells_empty(tmp_path):
    history = History(tmp_path / "metrics.csv")
    live(history, 0)
    live(history, 1, ap=0.5)
    first, second = table(tmp_path / "metrics.csv")
    assert (first["AP"], second["AP"]) == ("", "0.5")
    assert second["APs"] == "", "there are no such boxes: a mean over the column must not count it"
    assert list(first) == ["epoch", "loss", "loss_box", "loss_class", *SCALARS, "lr", "skipped", "seconds"]


def test_a_stored_history_goes_on_without_doubling_rows(tmp_path):
    history = History(tmp_path / "metrics.csv")
    live(history, 0, ap=0.4)
    write_checkpoint({"history": history.state_dict()}, tmp_path / "state.ckpt")
    live(history, 1, ap=0.1)
    again = History(tmp_path / "metrics.csv")
    again.load_state_dict(torch.load(tmp_path / "state.ckpt", weights_only=True)["history"])
    live(again, 1, ap=0.2)
    assert [(row["epoch"], row["AP"]) for row in table(tmp_path / "metrics.csv")] == [("1", "0.4"), ("2", "0.2")]
    assert again.best == (1, scored(0.4))


def test_a_result_of_an_earlier_checkpoint_is_read():
    stored = plain((3, scored(0.4)))
    assert parse(stored) == (3, scored(0.4))
    del stored["point"], stored["unreadable"]
    stored["classes"]["cat"] = stored["classes"]["cat"][:3]
    assert parse(stored) == (3, scored(0.4)._replace(point=None, classes={"cat": ClassResult(0.4, 0.4, 3)}))
