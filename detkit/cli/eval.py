"""``tools/eval.py CHECKPOINT [path=value ...]``: COCO's numbers of a checkpoint, and what lies behind them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from detkit.cli.config import import_modules
from detkit.cli.run import run, take_modules


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate; print COCO's 12 numbers, precision, recall and F1 at the best confidence, and AP by class."""
    parser = argparse.ArgumentParser(
        prog="eval.py",
        usage="%(prog)s CHECKPOINT [path=value ...] [--output DIR]",
        description="COCO's 12 numbers, precision, recall and F1 at the best confidence, AP by class; "
        "results.json in COCO's format; curves, confusion and the worst images as PNG and CSV.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="runs/yolo11n/0/best.ckpt, or a published folder")
    parser.add_argument(
        "overrides", nargs="*", metavar="path=value", help="data.root=~/mydata data.size=320 model.head.eval_layer=2 ..."
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="of results.json and plots/ (default: eval/ beside the checkpoint)"
    )
    take_modules(parser)
    return run(parser, _evaluate, argv)


def _evaluate(arguments: argparse.Namespace) -> int:
    from detkit.evaluation.coco import format_table
    from detkit.train.evaluate import evaluate

    import_modules(arguments.modules)
    done = evaluate(
        arguments.checkpoint.expanduser(), arguments.overrides, output=arguments.output and arguments.output.expanduser()
    )
    if done.rank == 0:
        print("\n".join([format_table(done.result), *(f"{name:9} {path}" for name, path in done.paths.items())]))
    return 0
