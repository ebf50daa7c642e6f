"""``tools/predict.py CHECKPOINT IMAGE|FOLDER``: annotated pictures, and their detections as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from detkit.cli.config import import_modules
from detkit.cli.run import run


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; print where the pictures are."""
    parser = argparse.ArgumentParser(prog="predict.py", description="Write annotated pictures and predictions.json.")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="runs/yolo11n/0/best.ckpt")
    parser.add_argument("source", metavar="IMAGE|FOLDER", help="an image, or a folder of images")
    parser.add_argument("--output", type=Path, default=Path("runs/predict"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--confidence", type=float, default=0.25, help="least score (default: %(default)s)")
    parser.add_argument(
        "--iou", type=float, default=0.7, help="overlap above which the worse box is dropped (default: %(default)s)"
    )
    parser.add_argument("--limit", type=int, default=300, help="most detections of an image (default: %(default)s)")
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE", help="your own parts")
    return run(parser, _predict, argv)


def _predict(arguments: argparse.Namespace) -> int:
    from detkit.deploy.predict import Predictor, predict_sources
    from detkit.deploy.sources import ImageSource

    import_modules(arguments.modules)
    source = ImageSource(arguments.source)
    thresholds = {name: getattr(arguments, name) for name in ("confidence", "iou", "limit")}
    done = predict_sources(Predictor.from_checkpoint(arguments.checkpoint, **thresholds), source, arguments.output)
    for name, reason in done.skipped:
        print(f"skipped {name}: {reason}")
    print(f"{done.boxes} objects in {done.images} images\npictures  {arguments.output}\nresults   {done.results}")
    return 0
