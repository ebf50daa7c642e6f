"""``detkit COMMAND ...``: the tools, under one name, wherever the package is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from detkit import __version__
from detkit.spec import suggestion

COMMANDS = {
    "demo": "watch a detector learn drawn objects in a few minutes",
    "train": "train a config, or resume a run",
    "eval": "COCO's numbers of a checkpoint",
    "replay": "a training step that broke, taken again: what is not finite, and where",
    "predict": "annotated pictures and JSON from a checkpoint",
    "check_data": "what is wrong with a data set, with pictures; mended annotations",
    "split_data": "new splits of a data set: by image, by group, each class in proportion",
    "convert_data": "a data set in another format: COCO, YOLO or VOC",
    "browse": "augmented training images, before and after",
    "profile": "parameters, operations, time and memory of configs, side by side",
    "check_module": "a part of yours, run through its whole contract",
    "weights": "what a file of weights holds, whoever wrote it",
    "list": "the registered parts, with their fields",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        print(f"detkit {__version__}")
        return 0
    if not words or words[0] in ("-h", "--help"):
        print("usage: detkit COMMAND ...\n\ncommands (each has --help):")
        print("\n".join(f"  {name:12} {text}" for name, text in COMMANDS.items()))
        return 0
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        print(f"error: no command '{name}'{suggestion(name, COMMANDS)}", file=sys.stderr)
        return 2
    return int(importlib.import_module(f"detkit.cli.{name}").main(rest))
