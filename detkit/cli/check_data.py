"""``tools/check_data.py DATA... [data.names=cat,dog ...]``: what is wrong with a data set, before it is trained on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.cli.data_source import Source, find_source, split_words
from detkit.cli.run import run
from detkit.errors import UserError

if TYPE_CHECKING:
    from detkit.data.check.examine import Checked

FAILED = 1
EXPLAINED = (
    "Exit status: 0 where all is in order, or every run mends it without loss; 1 where training would refuse the data, or "
    "would learn or score something else than was meant; 2 where there is no data set."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Check; print what was found, and where the page with pictures is."""
    parser = argparse.ArgumentParser(
        prog="check_data.py",
        usage="%(prog)s DATA... [data.names=cat,dog ...] [--write PATH] [--html PATH] [--workers N]",
        description="Reads, decodes and compares all of a data set: what a run would refuse, mend, or be misled by.",
        epilog=EXPLAINED,
    )
    parser.add_argument("data", nargs="+", metavar="DATA", help="a folder (as for data.root), a config, or an annotation file")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PATH",
        help="write mended annotations: a new folder, for data.root; for an annotation file, a new one in its place",
    )
    parser.add_argument("--html", type=Path, metavar="PATH", help="the page (default: runs/check_data/NAME/report.html)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode (default: one a core, at most 4)")
    return run(parser, _check, argv)


def _check(arguments: argparse.Namespace) -> int:
    words, overrides = split_words(arguments.data)
    if not words:
        raise UserError("which data? Name a folder, a config or an annotation file")
    if len(words) > 1 and (arguments.write or arguments.html):
        raise UserError("--write and --html are for one data set; check one at a time")
    return max([_check_one(find_source(word, overrides), arguments) for word in words])


def _check_one(source: Source, arguments: argparse.Namespace) -> int:
    from detkit.cli.check_page import write_page
    from detkit.cli.check_report import report
    from detkit.data.check.examine import check
    from detkit.data.check.mend import refuse_to_overwrite
    from detkit.data.workers import usual_workers

    if arguments.write is not None:
        refuse_to_overwrite(arguments.write.expanduser(), source.splits)
    workers = usual_workers() if arguments.workers is None else arguments.workers
    checked = check(source.data, source.splits, workers)
    page = (arguments.html or Path("runs") / "check_data" / source.name / "report.html").expanduser()
    write_page(checked, source.name, page)
    print("\n".join(report(checked, source.name)))
    if arguments.write is not None:
        print("\n".join(_write(checked, source, arguments.write.expanduser())))
    print(f"with pictures: {page}")
    return FAILED if checked.fails else 0


def _write(checked: Checked, source: Source, out: Path) -> list[str]:
    """Write mended annotations; return how to use them.

    Raises:
        UserError: nothing can be used, or something would be overwritten.
    """
    from detkit.data.check.mend import annotation_file, mended, write_annotations

    if not checked.splits:
        raise UserError("nothing of the data can be used, so that there is nothing to write")
    if source.file is not None and out.suffix == ".json":
        part = mended(checked.splits["train"])
        entries = {
            path: image["file_name"]
            for path, image in zip(checked.raw["train"].paths, checked.raw["train"].images, strict=True)
        }
        write_annotations(part, out, [entries[path] for path in part.paths])
        return [f"mended: {out}"]
    for split, part in checked.splits.items():
        write_annotations(mended(part), annotation_file(out, split))
    return [f"mended: {out}; train on it with data.root={out}"]
