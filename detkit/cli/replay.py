"""``tools/replay.py FILE``: a training step whose loss or gradient was not finite, taken again and looked into."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.cli.config import import_modules
from detkit.cli.run import run, take_modules

if TYPE_CHECKING:
    from detkit.train.examine import Finding
    from detkit.train.replay import Replay, ReplayedBatch


def main(argv: Sequence[str] | None = None) -> int:
    """Print what is not finite, and where; leave a picture of each batch."""
    parser = argparse.ArgumentParser(
        prog="replay.py",
        usage="%(prog)s FILE [--precision 32|bf16|fp16|64] [--anomaly] [--import MODULE]",
        description="Take a broken training step again: which loss, module, gradient and images are not finite.",
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="runs/yolo11n/0/broken/step-000123.pt")
    parser.add_argument("--precision", choices=["32", "bf16", "fp16", "64"], help="another than the run's")
    parser.add_argument("--anomaly", action="store_true", help="name the operation behind a NaN in the backward pass (slow)")
    take_modules(parser)
    return run(parser, _replay, argv)


def _replay(arguments: argparse.Namespace) -> int:
    from detkit.train.replay import replay  # imports lightning

    import_modules(arguments.modules)
    print("\n".join(lines(replay(arguments.file.expanduser(), arguments.precision, arguments.anomaly))))
    return 0


def lines(done: Replay) -> list[str]:
    """Return the report: the step, then each of its batches."""
    record = done.record
    told = [f"{record} of process {record.process}, {record.precision}; again on {done.device} in {done.precision}"]
    for batch in done.batches:
        told += _batch_lines(batch)
    if all(batch.found.healthy for batch in done.batches):
        told.append(
            f"nothing breaks in {done.precision}" + (": that is the way to go on" if done.precision != record.precision else "")
        )
    return told


def _batch_lines(batch: ReplayedBatch) -> list[str]:
    """Return what is told of one batch."""
    found, recorded = batch.found, {name: value.item() for name, value in batch.tried.losses.items()}
    told = [f"batch {batch.tried.number + 1}, {batch.picture}"]
    for name, value in found.losses.items():
        told.append(f"  loss {name:16} {value:<14.8g} in the run {recorded[name]:.8g}")
    told.append(f"  first output that is not finite: {found.module or 'none'}")
    if not found.bad_losses:
        told.append(f"  first gradient that is not finite: {found.parameter or 'none'}")
    if found.anomaly:
        told += [f"  {line}" for line in found.anomaly.splitlines()]
    for place, image in enumerate(batch.images):
        words = [f"breaks alone: {_words(image.alone)}"] if not image.alone.healthy else []
        words += ["in that output"] if place in found.images else []
        words += [f"boxes: {', '.join(image.boxes)}"] if image.boxes else []
        told.append(f"  {image.file}: {'; '.join(words) or 'nothing of note'}")
    return told


def _words(found: Finding) -> str:
    """Return what breaks, from the losses back."""
    parts = [f"loss {name}" for name in found.bad_losses]
    parts += [f"gradient of {found.parameter}"] if found.parameter else []
    return ", ".join(parts) or "the backward pass"
