"""``tools/weights.py transfer FILE CONFIG``: what a model would take from a file of weights, without training."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detkit.cli.config import configured, import_modules
from detkit.cli.run import run, take_modules
from detkit.errors import UserError
from detkit.experiment import Experiment

COCO_CLASSES = 80
OTHERS = "data.root=FOLDER or --classes NAME ... shows what others would take"
EPILOG = """Tensors are matched by role. A part's tensors are loaded, overlapped (init.overlap=true: what they have in common
with those of another shape), left at their initial values because the file lacks them or has another shape, or unexpected:
the file has them, and the model no place. Parameters and FLOPs are those of whole tensors that were loaded, and of the rows of
classes that both know by name; an operation counts where all parameters that it computes with do. Training with init=FILE on
data of these classes loads the same, tells the same, and takes init.strict."""


def transfer(argv: Sequence[str]) -> int:
    """Print what would be loaded."""
    parser = argparse.ArgumentParser(
        prog="weights.py transfer",
        usage="%(prog)s FILE CONFIG [path=value ...] [--backbone] [--strict SHARE] [--json] [--import MODULE] "
        "[--classes NAME ...]",
        description="Show what a model would take from a file of weights, part by part.",
        epilog=EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="yolo11n.pt, rtdetr_r18vd.pth, model.safetensors, best.ckpt ...")
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="configs/yolo11n.py, or a run's config.json")
    parser.add_argument("overrides", nargs="*", metavar="path=value", help="model.after.c5=IRMB init.overlap=true ...")
    parser.add_argument("--backbone", action="store_true", help="load the backbone alone, as init.backbone=FILE does")
    parser.add_argument("--strict", metavar="SHARE", help="fail below this share of parameters or FLOPs, as init.strict does")
    parser.add_argument(
        "--classes",
        nargs="+",
        default=[],
        metavar="NAME",
        help="of the model (default: those of data.root, or else the file's)",
    )
    parser.add_argument("--json", action="store_true", help="print all of it, tensor by tensor, for a program")
    take_modules(parser)
    return run(parser, _transfer, argv)


def _transfer(arguments: argparse.Namespace) -> int:
    from detkit.train.transplant import check_shares, planted

    import_modules(arguments.modules)
    field = "init.backbone" if arguments.backbone else "init.weights"
    strict = [] if arguments.strict is None else [f"init.strict={arguments.strict}"]
    if arguments.config is None or "=" in arguments.config:
        raise UserError("which config? It comes after the file: FILE CONFIG [path=value ...]")
    experiment, _ = configured(arguments.config, [f"{field}={arguments.file}", *arguments.overrides, *strict])
    if experiment.init is None:
        raise UserError("init=none: nothing would be loaded; leave it out")
    classes = _classes(arguments.classes, experiment)
    start = planted(experiment, classes.number, classes.names)
    if arguments.json:
        print("\n".join(filter(None, [classes.told, start.widened])), file=sys.stderr)
        print(json.dumps({one.field: {"file": str(one.weights.path)} | one.report.data for one in start.found}, indent=2))
    else:
        print("\n\n".join([classes.told, *start.notes]))
    check_shares(experiment.init, start.found)
    return 0


class _Classes(NamedTuple):
    """The classes of the model: their number, their names where they matter, and a sentence."""

    number: int
    names: Sequence[str]
    told: str


def _classes(given: Sequence[str], experiment: Experiment) -> _Classes:
    """Return the classes that are given, or the data's, or those that fit the file: as many.

    Raises:
        UserError: the names or the data are wrong, or the file cannot be read.
    """
    assert experiment.init is not None
    if given:
        _check(given)
        return _Classes(len(given), given, f"{len(given)} classes, as given")
    if experiment.data.root is not None:
        from detkit.data.layout import open_names

        names = open_names(experiment.data)
        return _Classes(len(names), names, f"{len(names)} classes, of data.root={experiment.data.root}")
    count = None if experiment.init.weights is None else _count(experiment.init.weights)
    if count is None:
        return _Classes(COCO_CLASSES, (), f"{COCO_CLASSES} classes, as the file is of none; {OTHERS}")
    return _Classes(count, (), f"{count} classes, those of the file; {OTHERS}")


def _count(file: str) -> int | None:
    """Return the number of classes of the detector in a file; None where there is none, or it does not tell.

    Raises:
        UserError: the file cannot be read.
    """
    from detkit.weights.published import names_detectors, row_count
    from detkit.weights.read import read

    weights = read(Path(file).expanduser())
    return row_count(weights) if names_detectors(weights) else None


def _check(names: Sequence[str]) -> None:
    """Check class names.

    Raises:
        UserError: one is there twice, or is an override that went astray.
    """
    for name in names:
        if "=" in name:
            raise UserError(f"--classes takes '{name}' for the name of a class; write it last, after the path=value words")
        if names.count(name) > 1:
            raise UserError(f"--classes: '{name}' is there twice")
