"""``tools/split_data.py DATA OUT [--val 0.1] [--group '^[^_]+']``: new splits of a data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detkit.cli.data_source import find_source, split_words
from detkit.cli.run import run
from detkit.errors import UserError

if TYPE_CHECKING:
    from detkit.data.annotations import Annotations

VAL = "0.2"


def main(argv: Sequence[str] | None = None) -> int:
    """Deal the images; print how many images and boxes of each class each split has."""
    parser = argparse.ArgumentParser(
        prog="split_data.py",
        usage="%(prog)s DATA OUT [--val 0.2] [--test 0.1] [--group REGEX | --group-field NAME] [--random] [--seed N]",
        description="Deals all images of a data set to new splits, each class in proportion, and writes annotation files for "
        "them. No image is copied: data.root=OUT finds them where they are.",
    )
    parser.add_argument("data", metavar="DATA", help="a folder (as for data.root), a config, or an annotation file")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the annotation files; none is overwritten")
    parser.add_argument("overrides", nargs="*", metavar="path=value", help="data.train_images=images data.names=cat,dog ...")
    share = "0.1 is a share, 50 a number of images"
    parser.add_argument("--train", metavar="N", help=f"images for training (default: the rest); {share}")
    parser.add_argument("--val", metavar="N", default=VAL, help="images for validation (default: %(default)s)")
    parser.add_argument("--test", metavar="N", help="images for a third file (default: none)")
    together = parser.add_mutually_exclusive_group()
    together.add_argument(
        "--group",
        metavar="REGEX",
        help="images stay together (one video, one patient) in whose paths it "
        "finds the same: '^[^_]+' is what comes before the first _",
    )
    together.add_argument("--group-field", metavar="NAME", help="images stay together whose entries agree in this field")
    parser.add_argument("--random", action="store_true", help="deal without regard to classes")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is random (default: %(default)s)")
    return run(parser, _split, argv)


def _split(arguments: argparse.Namespace) -> int:
    from detkit.data.check.mend import refuse_to_overwrite
    from detkit.data.split import groups_by_field, groups_by_name, read_all, split, write_splits

    out = arguments.out.expanduser()
    asked = {"train": arguments.train, "val": arguments.val, "test": arguments.test}
    wanted = {name: share for name, share in asked.items() if name == "train" or share not in (None, "0")}
    refuse_to_overwrite(out, wanted)
    names, overrides = split_words([arguments.data, *arguments.overrides])
    if names != [arguments.data]:
        raise UserError(f"'{names[-1]}' is not an override; write path=value, as in data.names=cat,dog")
    source = find_source(arguments.data, overrides)
    pool = read_all(source.data, source.splits)
    groups = None
    if arguments.group is not None:
        groups = groups_by_name(pool, arguments.group)
    elif arguments.group_field is not None:
        groups = groups_by_field(pool, arguments.group_field)
    splits = split(pool, wanted, groups=groups, stratify=not arguments.random, seed=arguments.seed)
    write_splits(splits, out)
    for note in pool.notes:
        print(note)
    print("\n".join(table(splits)))
    print(f"written: {out}; train on it with data.root={out}")
    return 0


def table(splits: dict[str, Annotations]) -> list[str]:
    """Return how many images and boxes, all and of each class, there are in each split, as lines."""
    from detkit.evaluation.table import align

    names = next(iter(splits.values())).names
    counts = [np.bincount(part.labels[~part.crowds], minlength=len(names)) for part in splits.values()]
    rows = [["", *splits], ["images", *(f"{len(part):,}" for part in splits.values())]]
    rows.append(["boxes", *(f"{int(values.sum()):,}" for values in counts)])
    rows += [[f"  {name}", *(f"{int(values[label]):,}" for values in counts)] for label, name in enumerate(names)]
    return align(rows, left=1)
