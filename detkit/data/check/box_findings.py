"""What is wrong with the boxes of a split: what every run mends or drops, and what it takes as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from detkit.data.check.boxes import repeated_boxes
from detkit.data.check.findings import MOST_EXHIBITS, Effect, Exhibit, Finding
from detkit.data.files import SUFFIXES
from detkit.data.packing import Packed, four_numbers
from detkit.data.raw import MOST_PLACES, RawSplit, Split

DROPPED, CLIPPED, LEFT_OUT, UNANNOTATED = "dropped", "clipped", "left out", "but without an XML file"
"""How what was done ends, in the words of readers and packing."""
REMEDIES = {
    DROPPED: "runs leave them out, so that what they show is background; mend them, or remove them with --write",
    CLIPPED: "runs take the part inside; --write writes that",
    LEFT_OUT: f"restore their images, or convert them to one of {', '.join(sorted(SUFFIXES))}; or remove the labels",
    UNANNOTATED: "annotate them, with no object where there is none, or take them out of the list",
}


MOST_CLIPPED = 1 / 3
"""Share of boxes that may reach out of their images by mistake."""
DOUBTFUL = (
    "runs take the part inside, but so many are no slips: see in the pictures whether they are x, y, width and height "
    "(not two corners), of images of this size"
)


def in_boxes(raw: RawSplit, packed: Packed, split: Split) -> list[Finding]:
    """Return what is wrong with the boxes of a split."""
    findings = [_told(what, split, found.count, found.places) for what, found in raw.tally.found.items()]
    for fault in packed.faults:
        places = [raw.place(entry) for entry in fault.entries[:MOST_PLACES].tolist()]
        told = _told(fault.what, split, len(fault.entries), places)
        if told.effect is Effect.MENDED and told.count > MOST_CLIPPED * len(raw.annotations):
            told = replace(told, effect=Effect.CHANGES, remedy=DOUBTFUL)
        findings.append(replace(told, exhibits=_exhibits(raw, fault.entries)))
    annotations = packed.annotations
    twice = packed.entries[repeated_boxes(annotations)]
    if len(twice):
        places = [raw.place(entry) for entry in twice[:MOST_PLACES].tolist()]
        remedy = "each is an object of its own, so that one is always missed; --write keeps the first"
        shown = _exhibits(raw, twice)
        findings.append(
            Finding("boxes that are written twice", Effect.CHANGES, split, len(twice), tuple(places), remedy, shown)
        )
    findings += _repeated_ids(raw, split)
    if annotations.crowds.all():
        remedy = "there is nothing to learn; export the annotations again" if split == "train" else "AP cannot be computed"
        effect = Effect.REFUSED if split == "train" else Effect.CHANGES
        findings.append(Finding("splits without a usable box", effect, split, 1, (str(raw.where),), remedy))
        return findings
    counts = np.bincount(annotations.labels[~annotations.crowds], minlength=len(annotations.names))
    if absent := [name for name, count in zip(annotations.names, counts.tolist(), strict=True) if not count]:
        remedy = "they cannot be learnt" if split == "train" else "they are not scored"
        findings.append(Finding("classes without a box", Effect.NOTED, split, len(absent), tuple(absent[:MOST_PLACES]), remedy))
    return findings


def _told(what: str, split: Split, count: int, places: Sequence[str]) -> Finding:
    """Return what readers or packing found; how they put it says what they did."""
    done = what.rpartition(", ")[2]
    effect = {DROPPED: Effect.CHANGES, CLIPPED: Effect.MENDED, LEFT_OUT: Effect.CHANGES}.get(done, Effect.NOTED)
    return Finding(what, effect, split, count, tuple(places), REMEDIES.get(done, "nothing is wrong with them"))


def _repeated_ids(raw: RawSplit, split: Split) -> list[Finding]:
    """Return annotation ids that several boxes have; scoring gives them new ones."""
    counts = Counter(entry.get("id") for entry in raw.annotations if isinstance(entry.get("id"), int))
    repeated = [number for number, count in counts.items() if count > 1]
    if not repeated:
        return []
    places = tuple(f"{raw.where}, annotation id {number}" for number in repeated[:MOST_PLACES])
    remedy = "runs number the boxes anew; so does --write"
    return [Finding("annotation ids that several boxes have", Effect.MENDED, split, len(repeated), places, remedy)]


def _exhibits(raw: RawSplit, entries: np.ndarray) -> tuple[Exhibit, ...]:
    """Return the images of the first of these boxes, with the boxes as they are written."""
    row_of = {image["id"]: row for row, image in enumerate(raw.images)}
    shown = []
    for entry in entries[:MOST_EXHIBITS].tolist():
        written = raw.annotations[entry]
        row, box = row_of.get(written.get("image_id", -1)), four_numbers(written.get("bbox"))
        if row is not None:
            boxes = ((box[0], box[1], box[2], box[3]),) if np.isfinite(box).all() else ()
            caption = f"{Path(raw.paths[row]).name}: {written.get('bbox')}"
            shown.append(Exhibit(caption, (raw.paths[row],), boxes, raw.upright))
    return tuple(shown)
