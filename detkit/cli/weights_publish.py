"""``tools/weights.py publish RUN OUT``: a folder that others can load a trained detector from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from detkit.cli.config import import_modules
from detkit.cli.run import run, take_modules

EPILOG = """The folder holds model.safetensors, config.json (the experiment, class names, scores by class, hashes of the data's
names and boxes, versions), README.md, a model card, and pictures where the run has them: val_batch.jpg shows validation images.
It has no path of this machine. detkit.load, predict.py, eval.py and init= take it; no code is run to read it."""


def publish(argv: Sequence[str]) -> int:
    """Publish a run; print what was written."""
    parser = argparse.ArgumentParser(
        prog="weights.py publish",
        description="Write a folder that a trained detector can be loaded from, with a model card.",
        epilog=EPILOG,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder (its best.ckpt), or a checkpoint")
    parser.add_argument("output", type=Path, metavar="OUT", help="the folder, whose name is the model's")
    parser.add_argument("--last", action="store_true", help="the run's last.ckpt instead")
    parser.add_argument(
        "--license", default="", metavar="NAME", help="that others get it under: apache-2.0, cc-by-4.0 ... (default: unknown)"
    )
    parser.add_argument("--half", action="store_true", help="store weights in half precision")
    parser.add_argument("--force", action="store_true", help="replace an earlier publication in OUT; other files stay")
    parser.add_argument("--push", metavar="USER/NAME", help="then upload it to Hugging Face's hub, where all may see it")
    take_modules(parser)
    return run(parser, _publish, argv)


def _publish(arguments: argparse.Namespace) -> int:
    from detkit.deploy import hub
    from detkit.deploy import publish as publishing

    import_modules(arguments.modules)
    output = arguments.output.expanduser()
    done = publishing.publish(
        arguments.run.expanduser(),
        output,
        last=arguments.last,
        licence=arguments.license,
        half=arguments.half,
        force=arguments.force,
    )
    print(f"{'weights':9} {done.source}")
    print(f"{'licence':9} {done.licence.name}{'' if done.licence.given else '; --license names another'}")
    if done.licence.terms:
        print(f"{'terms':9} of the initial weights: {done.licence.terms}")
    print("\n".join(f"{'written':9} {output / name}" for name in done.files))
    if arguments.push:
        hub.push(output, done.files, arguments.push)
        print(f"{'uploaded':9} {hub.SCHEME}{arguments.push}")
    return 0
