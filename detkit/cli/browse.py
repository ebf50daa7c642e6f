"""``tools/browse.py CONFIG [path=value ...]``: what the network sees of the training images."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from detkit.cli.config import configured, import_modules
from detkit.cli.run import run, take_modules
from detkit.experiment import Experiment

PAIRS = 3
"""In a row of the sheet."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write a contact sheet of training images, before and after augmentation; print where it is."""
    parser = argparse.ArgumentParser(
        prog="browse.py",
        usage="%(prog)s CONFIG [path=value ...] [--count N] [--output DIR]",
        description="Pairs of training images with their boxes: as they are, and as the network gets them.",
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="configs/yolo11n.py, or a run's config.json")
    parser.add_argument("overrides", nargs="*", metavar="path=value", help="data.root=~/mydata recipe.augment.mixup=1 ...")
    parser.add_argument("--count", type=_count, default=12, metavar="N", help="images shown (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the sheet (default: runs/browse)")
    take_modules(parser)
    return run(parser, _browse, argv)


def contact_sheet(experiment: Experiment, count: int) -> np.ndarray:
    """Return the first ``count`` images of a training run in pairs: resized, and from the loader that training uses.

    Raises:
        UserError: something in the data or the augmentation is wrong.
    """
    from detkit.data.dataset import EvalDataset
    from detkit.data.extra import check_transforms
    from detkit.data.layout import open_data
    from detkit.data.loader import TrainLoader
    from detkit.data.workers import collate
    from detkit.drawing import before_after, sheet

    data, recipe = experiment.data.model_copy(update={"cache": None}), experiment.recipe
    check_transforms(recipe.augment.extra, data.shape)
    splits = open_data(data)
    plain = EvalDataset(splits.train, data)
    rows = {image_id: row for row, image_id in enumerate(splits.train.image_ids.tolist())}
    loader = TrainLoader(splits.train, data, recipe.augment, batch=recipe.batch, epochs=recipe.epochs, seed=experiment.seed)
    tiles: list[np.ndarray] = []
    for after in islice(loader, math.ceil(count / loader.batch)):
        before = collate([plain[rows[image_id]] for image_id in after.image_ids.tolist()])
        tiles += before_after(before, after, splits.names)
    loader.close()
    return sheet(tiles[: 2 * count], columns=2 * min(count, PAIRS))


def _browse(arguments: argparse.Namespace) -> int:
    import_modules(arguments.modules)
    experiment, name = configured(arguments.config, arguments.overrides)
    page = contact_sheet(experiment, arguments.count)
    from detkit.drawing import save_picture

    folder = (arguments.output or Path(experiment.output) / "browse").expanduser()
    path = folder / f"{name}.png"
    save_picture(path, page)
    print(path)
    return 0


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text} images are no sheet; give a number from 1 up")
    return count
