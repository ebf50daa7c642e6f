"""``tools/predict.py CHECKPOINT SOURCE``: annotated pictures or video, and what was found as JSON, CSV or YOLO's text."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detkit.cli.config import import_modules
from detkit.cli.run import INTERRUPTED, run, take_modules
from detkit.errors import UserError

OPTIONS = ("confidence", "iou", "limit", "classes", "tiles", "overlap", "batch", "device")
"""Those that the predictor takes under their own names."""
OVERRIDE = re.compile(r"model\.[\w.*]+=")
"""Starts a word that is no source."""


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; print where the results are."""
    parser = argparse.ArgumentParser(
        prog="predict.py",
        usage="%(prog)s CHECKPOINT SOURCE [SOURCE ...] [model.path=value ...] [options]",
        description="Write annotated pictures (for a video: a video) and predictions.json. Ctrl-C ends it; results are kept.",
    )
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="runs/yolo11n/0/best.ckpt, or a published folder")
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="images, folders, patterns ('photos/**/*.jpg'); or one video file, camera (0) or stream (rtsp://..., http://...); "
        "model.head.eval_layer=2 and the like change the model, which the weights must still fill exactly",
    )
    parser.add_argument("--output", type=Path, default=Path("runs/predict"), metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--save",
        nargs="+",
        default=["pictures", "json"],
        metavar="KIND",
        help="pictures (a video for a video), json, csv, txt (YOLO); default: pictures json",
    )
    _add_options(parser)
    take_modules(parser)
    return run(parser, _predict, argv)


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add what the predictor is told."""
    parser.add_argument("--confidence", type=float, default=0.25, help="least score (default: %(default)s)")
    parser.add_argument(
        "--iou",
        type=float,
        default=0.7,
        help="overlap above which the worse box is dropped; for RT-DETR with --tiles only (default: %(default)s)",
    )
    parser.add_argument("--limit", type=int, default=300, help="most objects of an image (default: %(default)s)")
    parser.add_argument("--classes", nargs="+", metavar="NAME", help="look for these only; others don't count for --limit")
    parser.add_argument(
        "--size", type=int, nargs="+", metavar="PIXELS", help="input side, or height and width (default: as in training)"
    )
    parser.add_argument(
        "--tiles", type=int, metavar="PIXELS", help="for large images: also look at tiles of this side, such as 640"
    )
    parser.add_argument("--overlap", type=float, default=0.2, help="share of a tile in its neighbour (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="images or tiles at a time (default: %(default)s)")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: the GPU where there is one)")


def _predict(arguments: argparse.Namespace) -> int:
    from detkit.deploy.predict import load_predictor, predict_sources
    from detkit.deploy.sources import open_source

    import_modules(arguments.modules)
    checkpoint, output = (_home(path) for path in (arguments.checkpoint, arguments.output))
    overrides = [word for word in arguments.sources if OVERRIDE.match(word)]
    source = open_source(*(word for word in arguments.sources if word not in overrides))
    options: dict[str, Any] = {name: getattr(arguments, name) for name in OPTIONS}
    options |= {"size": _size(arguments.size), "overrides": overrides}
    done = predict_sources(load_predictor(checkpoint, **options), source, output, arguments.save)
    for name, reason in done.skipped:
        print(_printable(f"{'skipped ' if source.fps is None else ''}{name}: {reason}"))
    print(f"{done.objects} objects in {done.images} {'images' if source.fps is None else 'frames'}")
    for label, path in done.paths.items():
        print(_printable(f"{label:9} {path}"))
    if done.interrupted:
        print("interrupted; the results hold what was done so far")
    return INTERRUPTED if done.interrupted else 0


def _size(numbers: Sequence[int] | None) -> int | tuple[int, int] | None:
    """Return the input size that ``--size`` says."""
    if numbers is None:
        return None
    if len(numbers) == 1:
        return numbers[0]
    if len(numbers) != 2:
        raise UserError(f"--size takes one number or two (height and width), not {len(numbers)}; write --size 640")
    return numbers[0], numbers[1]


def _home(path: str | Path) -> Path:
    """Return the path with ``~`` replaced by the home folder."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - that of pathlib fails for names such as ~a


def _printable(text: str) -> str:
    """Return the text with what is not UTF-8, as file names may hold, in letters that are."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
