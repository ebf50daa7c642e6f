"""A whole data set, looked at: everything that a run would refuse, mend, or be misled by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from detkit.data.annotations import Annotations
from detkit.data.check.box_findings import in_boxes
from detkit.data.check.file_findings import across, in_files, unusable
from detkit.data.check.findings import Complaints, Effect, Finding
from detkit.data.check.looks import look_at
from detkit.data.layout import check_classes, find_reader
from detkit.data.packing import pack_and_tell
from detkit.data.raw import MOST_PLACES, SPLITS, RawSplit, Reader, Split, without_images
from detkit.data.spec import Data
from detkit.errors import UserError


@dataclass(frozen=True)
class Checked:
    """What a check has seen.

    Attributes:
        names: class names by label.
        splits: what is usable of each split, mended as every run mends it.
        raw: the same as its files say.
        findings: what is wrong, the worst first.
    """

    names: tuple[str, ...] = ()
    splits: dict[Split, Annotations] = field(default_factory=dict)
    raw: dict[Split, RawSplit] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def fails(self) -> bool:
        """Whether training would refuse the data, or learn or score something else than was meant."""
        return any(finding.effect.fails for finding in self.findings)


def check(data: Data, splits: Sequence[Split] = SPLITS, workers: int = 0) -> Checked:
    """Read, decode and compare all of a data set, past all that is wrong.

    Args:
        data: where it is.
        splits: which ones to look at.
        workers: processes that decode; 0 decodes in this one.

    Raises:
        UserError: there is no data set.
    """
    complaints, findings = Complaints(), list[Finding]()
    reader = find_reader(data, complaints)
    read: dict[Split, RawSplit] = {}
    for split in splits:
        complaints.split = split
        try:
            read[split] = reader.read(split)
        except UserError as error:
            findings.append(Finding("annotations that cannot be used", Effect.REFUSED, split, 1, (), str(error)))
    names = _names(read, findings)
    looks = {split: look_at(raw.paths, split, workers) for split, raw in read.items() if raw.paths}
    usable, packed = {}, {}
    for split, raw in read.items():
        if split in looks:
            findings += in_files(raw, looks[split], split)
            usable[split] = without_images(raw, unusable(raw, looks[split]))
        if usable.get(split) and usable[split].paths:
            whole = pack_and_tell(usable[split], names)
            findings += in_boxes(usable[split], whole, split)
            packed[split] = whole.annotations
    if len(looks) == len(SPLITS):
        findings += across(read, looks)
    findings += _strays(reader, read, data)
    findings += complaints.findings()
    order = list(Effect)
    return Checked(names, packed, usable, sorted(findings, key=lambda finding: order.index(finding.effect)))


def _names(read: dict[Split, RawSplit], findings: list[Finding]) -> tuple[str, ...]:
    """Return the class names of all splits, training's first; those that training lacks, or that look alike, are a finding."""
    named = [raw.categories.values() for raw in read.values()]
    findings += [_twice(raw, split, groups) for split, raw in read.items() if (groups := _spellings(raw))]
    if len(read) == len(SPLITS):
        train, val = read["train"], read["val"]
        try:
            check_classes(val, tuple(train.categories.values()), str(train.where))
        except UserError as error:
            unknown = [name for name in val.categories.values() if name not in train.categories.values()]
            places = tuple(f"{val.where}, category '{name}'" for name in unknown[:MOST_PLACES])
            findings.append(
                Finding("categories that training does not know", Effect.REFUSED, "val", len(unknown), places, str(error))
            )
    return tuple(dict.fromkeys(name for names in named for name in names))


def _spellings(raw: RawSplit) -> list[list[str]]:
    """Return the class names of a split that differ from one another in capitals and spaces alone."""
    groups: dict[str, list[str]] = {}
    for name in raw.categories.values():
        groups.setdefault("".join(name.split()).casefold(), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _twice(raw: RawSplit, split: Split, groups: list[list[str]]) -> Finding:
    """Return what is said of classes that have several names."""
    places = tuple(f"{raw.where}, {' and '.join(map(repr, names))}" for names in groups[:MOST_PLACES])
    remedy = "each is a class of its own; write one name for all of them, if they are one"
    return Finding("class names that differ in capitals or spaces alone", Effect.CHANGES, split, len(groups), places, remedy)


def _strays(reader: Reader, read: dict[Split, RawSplit], data: Data) -> list[Finding]:
    """Return what is said of image files that no annotation tells of."""
    if len(read) < len(SPLITS):
        return []
    strays = {split: reader.strays(split) for split in SPLITS}
    strays["val"] = sorted(set(strays["val"]) - set(strays["train"]))
    remedies = {
        "train": "they are trained on as background; data.background=false leaves them out"
        if data.background
        else "they are left out; data.background=true trains on them as background",
        "val": "they are left out; annotate them, with no box where there is none",
    }
    what = "image files that no annotation tells of"
    return [
        Finding(what, Effect.NOTED, split, len(paths), tuple(map(_text, paths[:MOST_PLACES])), remedies[split])
        for split, paths in strays.items()
        if paths
    ]


def _text(path: str | Path) -> str:
    return str(path)
