"""``tools/weights.py inspect FILE``: what a file of weights holds, whoever wrote it; nothing in it is run. And its siblings."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from detkit.cli.run import WRONG_USE, run
from detkit.cli.weights_convert import convert
from detkit.cli.weights_publish import publish
from detkit.cli.weights_transfer import transfer
from detkit.spec import suggestion
from detkit.weights import Weights, read
from detkit.weights.records import shown

FEW = 12
"""Classes, records and parts shown without --all."""
EPILOG = """Read are detkit's checkpoints, safetensors, PyTorch's zip and legacy formats, and pickles: state dicts,
checkpoints around them, and whole pickled modules of classes that need not be installed. Nothing in a file is imported or
called: tensors and plain containers are rebuilt, objects of other classes are inert records, and a file that asks for
anything else is refused. The family is guessed from names and shapes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names and return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print("usage: weights.py COMMAND ...\n\ncommands (each has --help):")
        print("\n".join(f"  {name:10} {text}" for name, (_, text) in COMMANDS.items()))
        return 0
    if words[0] not in COMMANDS:
        print(f"error: no command '{words[0]}'{suggestion(words[0], COMMANDS)}", file=sys.stderr)
        return WRONG_USE
    command, _ = COMMANDS[words[0]]
    return command(words[1:])


def inspect(argv: Sequence[str]) -> int:
    """Print what a file holds."""
    parser = argparse.ArgumentParser(
        prog="weights.py inspect", description="Show what a file of weights holds, whoever wrote it.", epilog=EPILOG
    )
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="yolov8n.pt, rtdetr_r18vd.pth, model.safetensors, best.ckpt ..."
    )
    parser.add_argument("--depth", type=int, default=2, help="words of a name that make a part (default: %(default)s)")
    parser.add_argument("--all", action="store_true", help="every part, class and record")
    return run(parser, _inspect, argv)


def _inspect(arguments: argparse.Namespace) -> int:
    weights = read(arguments.file.expanduser())
    most = sys.maxsize if arguments.all else FEW
    print(f"{weights.path}\n")
    print("\n".join(f"{label:11} {text}" for label, text in facts(weights, most) if text))
    print("\n" + "\n".join(part_lines(weights, max(1, arguments.depth), most)))
    return 0


def facts(weights: Weights, most: int) -> Iterator[tuple[str, str]]:
    """Yield what is known of weights, a label and a text each; empty where nothing is."""
    others = sum(weights.records.values())
    yield "format", weights.form
    yield "family", weights.family.name if weights.family else "unknown"
    yield "found at", f"{weights.place or 'the top'}{' (averaged over training)' if weights.averaged else ''}"
    count = "unknown" if weights.class_count is None else str(weights.class_count)
    yield "classes", ": ".join(filter(None, [count, some([shown(name, 30) for name in weights.classes], most)]))
    yield "parameters", f"{weights.parameters:,} in {len(weights.state)} tensors, statistics left out"
    yield "precision", ", ".join(f"{dtype} {elements:,}" for dtype, elements in weights.precision.items())
    yield "licence", weights.terms or "not known; ask whoever published the file"
    names = sorted(weights.records, key=lambda name: -weights.records[name])
    told = some([f"{shown(name)} ({weights.records[name]})" for name in names], most)
    yield "records", f"{others} objects of foreign classes, read without behaviour: {told}" if others else ""


def part_lines(weights: Weights, depth: int, most: int) -> Iterator[str]:
    """Yield a table of the largest parts: the first ``depth`` words of names, tensors, elements and their share."""
    tensors: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    for name, tensor in weights.state.items():
        part = ".".join(name.split(".")[:depth])
        tensors[part] += 1
        elements[part] += tensor.numel()
    whole = max(1, sum(elements.values()))
    largest = elements.most_common(min(most, len(elements)))
    width = max([4, *(len(shown(part, 50)) for part, _ in largest)])
    yield f"{'part':{width}}  {'tensors':>7}  {'elements':>13}  {'share':>6}"
    for part, count in largest:
        yield f"{shown(part, 50):{width}}  {tensors[part]:7}  {count:13,}  {count / whole:6.1%}"
    if len(elements) > len(largest):
        yield f"and {len(elements) - len(largest)} smaller parts; --all shows them"


def some(words: Sequence[str], most: int) -> str:
    """Return the first words, and how many more there are."""
    more = f", and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "inspect": (inspect, "what is inside: family, classes, parameters, precision, averaged or not, licence"),
    "convert": (convert, "a checkpoint of detkit from anybody's weights of a detector, for eval.py and predict.py"),
    "transfer": (transfer, "what a model would take from a file, part by part; loads, and trains nothing"),
    "publish": (publish, "a folder that others can load a run's detector from, with scores and a model card"),
}
