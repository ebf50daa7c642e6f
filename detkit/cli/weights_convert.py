"""``tools/weights.py convert FILE OUT``: a checkpoint of detkit from anybody's weights of a whole detector."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from detkit.cli.run import run, take_modules

EPILOG = """The detector, its size and its number of classes are found by names and shapes: YOLOv8 and YOLO11 n to x, RT-DETR
and RT-DETRv2 r18 to r101 and hgnetv2_l to hgnetv2_h. Averaged weights are taken where a file has them. Half precision
becomes single, as training and CPUs need it."""


def convert(argv: Sequence[str]) -> int:
    """Convert a file; print what became of every part."""
    parser = argparse.ArgumentParser(
        prog="weights.py convert",
        description="Write a checkpoint of detkit, for eval.py, predict.py and init=, from anybody's weights of a detector.",
        epilog=EPILOG,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="yolo11n.pt, rtdetr_r18vd_6x_coco.pth, model.safetensors ...")
    parser.add_argument("output", type=Path, metavar="OUT", help="the checkpoint: yolo11n.ckpt; never overwritten")
    parser.add_argument(
        "--model", metavar="MODEL", help="a config, or a published detector such as yolo11n or rtdetr_r50 (default: found)"
    )
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="in order of labels (default: the file's)")
    parser.add_argument(
        "--partial", action="store_true", help="write what fits though tensors are left over; what is missing is untrained"
    )
    take_modules(parser)
    return run(parser, _convert, argv)


def _convert(arguments: argparse.Namespace) -> int:
    from detkit.cli.config import import_modules, load_config
    from detkit.deploy import convert as conversion

    import_modules(arguments.modules)
    model = arguments.model
    experiment = None
    if model is not None:
        experiment = load_config(model) if Path(model).suffix else conversion.published(model)
    done = conversion.convert(
        arguments.file.expanduser(), arguments.output.expanduser(), experiment, arguments.classes, strict=not arguments.partial
    )
    print(done.report)
    print("\n" + "\n".join(f"{label:10} {text}" for label, text in conversion.facts(done)))
    print(f"{'written':10} {arguments.output}")
    return 0
