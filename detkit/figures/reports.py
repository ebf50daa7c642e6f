"""The folders of pictures: what an evaluation and a run write, first as tables, then drawn from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from detkit.data.annotations import Annotations
from detkit.drawing import save_picture
from detkit.evaluation.coco import CocoResult
from detkit.evaluation.confidence import CONFIDENCES, mean_of_known
from detkit.evaluation.diagnosis import Diagnosis
from detkit.figures.confusion import BACKGROUND, draw_matrix, normalise
from detkit.figures.curves import ALL, draw_class_curves, draw_epochs
from detkit.figures.labels import draw_labels, write_labels
from detkit.figures.tables import numbers, read_table, write_table
from detkit.figures.worst import ReadImage, draw_worst, write_worst

CLASSES = ("class", "boxes", "AP", "AP50", "APs", "APm", "APl", "precision", "recall", "F1")
CURVES = {"precision_recall": "precision", "precision": "precision", "recall": "recall", "f1": "F1"}
"""What is on the y axis, by file."""
MATRICES = {"confusion": "boxes", "confusion_normalised": "shares of each row"}
"""What is in the cells, by file."""
WORST = ("worst_missed", "worst_false")
SCORES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "precision", "recall", "F1")
"""The numbers of an evaluation that are drawn by epoch; ``metrics.csv`` has all."""
EPOCHS = {"losses": "training losses", "scores": "evaluation"}
"""Titles by file."""


def write_evaluation(folder: Path, result: CocoResult, diagnosis: Diagnosis) -> None:
    """Write the tables of an evaluation; classes without boxes have no column of their own in the curves.

    ``precision.csv``, ``recall.csv`` and ``f1.csv`` over the confidence, ``precision_recall.csv``, ``confusion.csv`` and
    ``confusion_normalised.csv``, ``classes.csv``, ``worst_missed.csv`` and ``worst_false.csv``.
    """
    recalls = np.linspace(0, 1, diagnosis.precision_recall.shape[1])
    _write_curves(folder / "precision_recall.csv", "recall", recalls, diagnosis.precision_recall, result)
    for stem, values in zip(("precision", "recall", "f1"), diagnosis.curves, strict=True):
        _write_curves(folder / f"{stem}.csv", "confidence", CONFIDENCES, values, result)
    names = (*diagnosis.names, BACKGROUND)
    for stem, matrix in zip(MATRICES, (diagnosis.confusion, normalise(diagnosis.confusion)), strict=True):
        write_table(folder / f"{stem}.csv", ("is", *names), ((n, *row) for n, row in zip(names, matrix.tolist(), strict=True)))
    rows = []
    for name, item in result.classes.items():
        measured = (value if value >= 0 else math.nan for value in (item.ap, item.ap50, *item[3:]))
        rows.append((name, item.boxes, *measured))
    write_table(folder / "classes.csv", CLASSES, rows)
    for stem, images in zip(WORST, (diagnosis.missed, diagnosis.false), strict=True):
        write_worst(folder / f"{stem}.csv", images)


def draw_evaluation(folder: Path, read_image: ReadImage) -> dict[str, np.ndarray]:
    """Draw what the tables of an evaluation hold, beside them; return the pictures by name."""
    pictures: dict[str, np.ndarray] = {}
    for stem, title in CURVES.items():
        header, rows = read_table(folder / f"{stem}.csv")
        columns = [numbers(column) for column in zip(*rows, strict=True)]
        pictures[stem] = draw_class_curves(header, columns, title, _note(stem, columns))
    for stem, cells in MATRICES.items():
        (_, *names), rows = read_table(folder / f"{stem}.csv")
        pictures[stem] = draw_matrix(names, np.array([numbers(row[1:]) for row in rows]), f"confusion ({cells}), IoU 0.50")
    for stem in WORST:
        page = draw_worst(folder / f"{stem}.csv", read_image)
        if page is not None:
            pictures[stem] = page
        else:
            (folder / f"{stem}.png").unlink(missing_ok=True)
    return _save(folder, pictures)


def draw_run(folder: Path, rows: Sequence[Mapping[str, float]], train: Annotations) -> dict[str, np.ndarray]:
    """Write tables and pictures of a run: ``losses``, ``scores``, ``labels``, ``label_centres``, ``label_sizes``.

    Args:
        folder: where they go.
        rows: of ``metrics.csv``.
        train: the training split.
    """
    write_labels(folder, train)
    pictures = draw_labels(folder)
    names = list(dict.fromkeys(name for row in rows for name in row))
    losses = [name for name in names if name.startswith("loss")]
    scores = [name for name in SCORES if name in names]
    for stem, chosen in zip(EPOCHS, (losses, scores), strict=True):
        header = ("epoch", *chosen)
        write_table(folder / f"{stem}.csv", header, ([_measured(row, name) for name in header] for row in rows))
        if chosen:
            columns = [numbers(column) for column in zip(*read_table(folder / f"{stem}.csv")[1], strict=True)]
            pictures[stem] = draw_epochs(header, columns, EPOCHS[stem])
    return _save(folder, pictures)


def _measured(row: Mapping[str, float], name: str) -> float:
    """Return a number of an epoch; NaN where it was not evaluated, or there were no boxes to find."""
    value = row.get(name, math.nan)
    return math.nan if name in SCORES and value < 0 else value


def _write_curves(file: Path, across: str, x: np.ndarray, values: np.ndarray, result: CocoResult) -> None:
    """Write curves (K, X) of classes in the order of ``result``, and their means."""
    names = list(result.classes)
    chosen = [k for k, item in enumerate(result.classes.values()) if item.boxes]
    table = np.column_stack([x, mean_of_known(values), values[chosen].T])
    write_table(file, (across, ALL, *(names[k] for k in chosen)), table.tolist())


def _note(stem: str, columns: Sequence[np.ndarray]) -> str:
    """Return what the line of means is worth telling."""
    x, mean, *_ = columns
    if stem == "precision_recall":
        return f"{ALL}: AP50 {mean.mean():.3f}"
    if stem == "f1":
        best = int(np.nan_to_num(mean).argmax())
        return f"{ALL}: {mean[best]:.3f} at {x[best]:.3f}"
    return ALL


def _save(folder: Path, pictures: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    for stem, picture in pictures.items():
        save_picture(folder / f"{stem}.png", picture)
    return pictures
