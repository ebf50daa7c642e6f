"""``tools/profile.py CONFIG [CONFIG ...]``: what detectors cost, beside one another."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from detkit.cli.config import configured, import_modules
from detkit.cli.run import run, take_modules
from detkit.data.spec import SIZE
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.profiling.costs import Cost, Subject
from detkit.profiling.table import CONVENTION, Table, cost_table, latex, layer_table, markdown, records, text, uncounted

EPILOG = """A row a config, each followed by its difference to the first. Time and memory are of one image, fused,
channels_last, in float32, without suppression of overlapping boxes; all detectors take turns. --rank puts every registered
part of a slot's family, with default fields, into the config's detector: backbone, neck, head, unit, neck_unit, intra,
after.p4, or any path below model. Rows then come sorted by time (with --no-latency: by GFLOPs); parts that don't fit are
named with the reason."""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(
        prog="profile.py",
        usage="%(prog)s CONFIG [CONFIG ...] [path=value ...] [--layers] [--rank SLOT] [options]",
        description="Parameters, operations, time and memory of detectors, side by side.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "words", nargs="+", metavar="CONFIG", help="configs/yolo11n.py, or a run's config.json; path=value changes all of them"
    )
    parser.add_argument("--layers", action="store_true", help="also show parameters and GFLOPs by role")
    parser.add_argument("--depth", type=_positive, default=3, help="of the roles shown (default: %(default)s)")
    parser.add_argument(
        "--rank", metavar="SLOT", help="measure every part that could stand in a slot: backbone, neck, unit ..."
    )
    parser.add_argument("--no-latency", action="store_true", help="count only: no weights, no time, no memory")
    parser.add_argument(
        "--repeats", type=_positive, default=30, metavar="N", help="forward passes measured (default: %(default)s)"
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: the GPU where there is one)")
    parser.add_argument(
        "--size", type=int, nargs="+", metavar="PIXELS", help=f"input side, or height and width (default: data.size, or {SIZE})"
    )
    parser.add_argument("--classes", type=_positive, default=80, metavar="N", help="class count (default: %(default)s)")
    for kind in ("csv", "markdown", "latex"):
        parser.add_argument(f"--{kind}", type=Path, metavar="FILE", help="also write the table there")
    take_modules(parser)
    return run(parser, _profile, argv)


def _profile(arguments: argparse.Namespace) -> int:
    from detkit.deploy.predictor import usable_device
    from detkit.profiling.measure import machine
    from detkit.profiling.profile import profile

    import_modules(arguments.modules)
    subjects, refused = _subjects(arguments)
    device = None if arguments.no_latency else usable_device(arguments.device)
    costs, failed = profile(subjects, arguments.classes, device, arguments.repeats, tolerant=arguments.rank is not None)
    if subjects[0].name in failed:
        raise UserError(f"{subjects[0].name} itself cannot be profiled: {failed[subjects[0].name]}")
    if arguments.rank:
        costs[1:] = sorted(costs[1:], key=lambda cost: cost.percentile(50) or cost.whole.flops.products)
    notes = [CONVENTION, uncounted(costs)]
    if device is not None:
        conditions = f"one image, {arguments.classes} classes, float32, fused, channels_last, on {machine(device)}"
        notes.append(f"Time: {arguments.repeats} forward passes in turn, decoding included, suppression not; {conditions}.")
    notes += [f"{name} does not fit: {reason}" for name, reason in (refused | failed).items()]
    tables = [cost_table(costs), *(layer_table(cost, arguments.depth) for cost in costs if arguments.layers)]
    _report(arguments, costs, tables, [note for note in notes if note])
    return 0


def _subjects(arguments: argparse.Namespace) -> tuple[list[Subject], dict[str, str]]:
    """Return what to profile, and the parts that the slot to be ranked cannot hold, each with the reason."""
    from detkit.profiling.rank import swaps

    overrides = [word for word in arguments.words if "=" in word]
    if arguments.size:
        overrides.append(f"data.size={arguments.size[0] if len(arguments.size) == 1 else arguments.size}")
    configs = [word for word in arguments.words if "=" not in word] or [None]
    found: dict[str, Experiment] = {}
    for config in configs:
        experiment, name = configured(config, overrides)
        found[f"{name} ({config})" if name in found else name] = experiment
    if not arguments.rank:
        return [_subject(name, experiment) for name, experiment in found.items()], {}
    if len(found) > 1:
        raise UserError(f"--rank {arguments.rank} changes one config; {len(found)} are given")
    [(name, experiment)] = found.items()
    changed, refused = swaps(experiment, arguments.rank)
    return [_subject(name, experiment), *(_subject(part, swap) for part, swap in changed.items())], refused


def _subject(name: str, experiment: Experiment) -> Subject:
    """Return the detector of an experiment at the size that it says, or at the size of published figures."""
    data = experiment.data
    return Subject(name, experiment.model, data.shape if data.size else (SIZE, SIZE))


def _report(arguments: argparse.Namespace, costs: list[Cost], tables: list[Table], notes: list[str]) -> None:
    """Print the tables with their notes, and write them to the files asked for."""
    print("\n\n".join([*map(text, tables), "\n".join(notes)]))
    if arguments.markdown:
        _save(arguments.markdown, "\n\n".join([*map(markdown, tables), *notes]))
    if arguments.latex:
        _save(arguments.latex, "\n\n".join([*map(latex, tables), *(f"% {note}" for note in notes)]))
    if arguments.csv:
        rows = records(costs)
        lines = io.StringIO()
        writer = csv.DictWriter(lines, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        _save(arguments.csv, lines.getvalue().rstrip())


def _save(file: Path, content: str) -> None:
    """Write a file, in a folder that may not be there yet."""
    file = file.expanduser()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content + "\n", encoding="utf-8")
    print(f"wrote {file}")


def _positive(word: str) -> int:
    """Return a number of at least 1."""
    if not word.isdigit() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"'{word}' is not a whole number from 1")
    return int(word)
