"""``tools/weights.py transfer FILE CONFIG``: what a model would take from a file of weights, without training."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from detkit.cli.config import configured, import_modules
from detkit.cli.run import run
from detkit.weights.read import read

COCO_CLASSES = 80
EPILOG = """Tensors are matched by role. A part's tensors are loaded, overlapped (init.overlap=true: what they have in common
with those of another shape), left at their initial values because the file lacks them or has another shape, or unexpected:
the file has them, and the model no place. Parameters and FLOPs are those of whole tensors that were loaded; an operation counts
where all parameters that it computes with do. Training with init=FILE loads the same, tells the same, and takes init.strict."""


def transfer(argv: Sequence[str]) -> int:
    """Print what would be loaded."""
    parser = argparse.ArgumentParser(
        prog="weights.py transfer",
        usage="%(prog)s FILE CONFIG [path=value ...] [--backbone] [--strict SHARE] [--classes N] [--json] [--import MODULE]",
        description="Show what a model would take from a file of weights, part by part.",
        epilog=EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="yolo11n.pt, rtdetr_r18vd.pth, model.safetensors, best.ckpt ...")
    parser.add_argument("config", metavar="CONFIG", help="configs/yolo11n.py, or a run's config.json")
    parser.add_argument("overrides", nargs="*", metavar="path=value", help="model.after.c5=IRMB init.overlap=true ...")
    parser.add_argument("--backbone", action="store_true", help="load the backbone alone, as init.backbone=FILE does")
    parser.add_argument("--strict", metavar="SHARE", help="fail below this share of parameters or FLOPs, as init.strict does")
    parser.add_argument(
        "--classes", type=int, metavar="N", help="number of the model's classes (default: the detector's in the file, or 80)"
    )
    parser.add_argument("--json", action="store_true", help="print all of it, tensor by tensor, for a program")
    parser.add_argument("--import", dest="modules", action="append", default=[], metavar="MODULE", help="your own parts")
    return run(parser, _transfer, argv)


def _transfer(arguments: argparse.Namespace) -> int:
    from detkit.train.transplant import check_shares, transplant

    import_modules(arguments.modules)
    field = "init.backbone" if arguments.backbone else "init.weights"
    strict = [] if arguments.strict is None else [f"init.strict={arguments.strict}"]
    experiment, _ = configured(arguments.config, [f"{field}={arguments.file}", *arguments.overrides, *strict])
    assert experiment.init is not None, "the first override names a file"
    known = None if arguments.backbone else read(Path(arguments.file).expanduser()).class_count
    classes = arguments.classes or known or COCO_CLASSES
    found = transplant(experiment.model.build(classes), experiment, classes)
    if arguments.json:
        print(json.dumps({one.field: {"file": str(one.weights.path)} | one.report.data for one in found}, indent=2))
    else:
        print("\n\n".join(note for one in found for note in one.notes))
    check_shares(experiment.init, found)
    return 0
