"""``tools/convert_data.py SOURCE OUT --to coco|yolo|voc``: a data set in another format."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from detkit.cli.run import run


def main(argv: Sequence[str] | None = None) -> int:
    """Convert; print what was read, mended and written."""
    parser = argparse.ArgumentParser(
        prog="convert_data.py",
        usage="%(prog)s SOURCE OUT --to coco|yolo|voc [--link] [data.names=cat,dog ...]",
        description="Write both splits of a data set, whatever its format, in another format, images included.",
    )
    parser.add_argument("source", metavar="SOURCE", help="a folder, as for data.root")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder")
    parser.add_argument("overrides", nargs="*", metavar="path=value", help="data.format=yolo data.val_list=val.txt ...")
    parser.add_argument("--to", required=True, choices=("coco", "yolo", "voc"), help="format to write")
    parser.add_argument("--link", action="store_true", help="hard links to the images instead of copies")
    return run(parser, _convert, argv)


def _convert(arguments: argparse.Namespace) -> int:
    from detkit.data.convert import convert
    from detkit.data.spec import Data
    from detkit.overrides import override

    words = [word.removeprefix("data.") for word in arguments.overrides]
    done = convert(override(Data(root=arguments.source), words), arguments.out, arguments.to, link=arguments.link)
    for note in done.notes:
        print(note)
    for split, images in done.images.items():
        print(f"{split:5} {images} images, {done.boxes[split]} boxes")
    print(f"{len(done.names)} classes: {', '.join(done.names)}\n{arguments.to} data set: {arguments.out}")
    return 0
