"""What a check found, as text for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from detkit.data.check.examine import Checked
from detkit.data.check.findings import Finding
from detkit.evaluation.table import align

WIDTH = 120


def report(checked: Checked, name: str) -> list[str]:
    """Return lines: what there is, a table of the findings, and of each the first places and what to do."""
    lines = [f"{name}: {'; '.join(contents(checked))}"]
    if not checked.findings:
        return [*lines, "nothing is wrong with it"]
    rows = [("", "finding", "split", "count", "effect")]
    for number, finding in enumerate(checked.findings, 1):
        rows.append((str(number), finding.what, finding.split, f"{finding.count:,}", finding.effect.value))
    lines += ["", *_left(rows), ""]
    for number, finding in enumerate(checked.findings, 1):
        lines += _details(number, finding)
    wrong = "not in order: training would refuse it, or would learn or score something else than was meant"
    return [*lines, "", wrong if checked.fails else "in order"]


def contents(checked: Checked) -> list[str]:
    """Return how much of each split can be used."""
    found = []
    for split, part in checked.splits.items():
        boxes = int((~part.crowds).sum())
        used = len(np.unique(part.labels))
        found.append(f"{split} {len(part):,} images, {boxes:,} boxes of {used:,} classes")
    return found or ["nothing that can be used"]


def _left(rows: Sequence[tuple[str, str, str, str, str]]) -> list[str]:
    """Return the table with numbers flush right and words flush left."""
    table = [(number.rjust(2), what, split, count.rjust(9), effect) for number, what, split, count, effect in rows]
    return align(table, left=5)


def _details(number: int, finding: Finding) -> list[str]:
    more = finding.count - len(finding.places)
    lines = [f"{number:>2}  {finding.what} ({finding.split})"]
    lines += [f"      {place}" for place in finding.places]
    lines += [f"      and {more:,} more"] * (more > 0 and bool(finding.places))
    return [*lines, *textwrap.wrap(finding.remedy, WIDTH, initial_indent="    > ", subsequent_indent="      ")]
