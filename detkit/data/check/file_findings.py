"""What is wrong with image files: each for itself, and beside those of the other split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from detkit.data.check.boxes import repeated_files, shared_files
from detkit.data.check.findings import MOST_EXHIBITS, Effect, Exhibit, Finding
from detkit.data.check.looks import Looks
from detkit.data.check.similar import identical, near, repeated
from detkit.data.files import TURNED
from detkit.data.headers import looks_right
from detkit.data.images import ImageError, load_annotated
from detkit.data.raw import MOST_PLACES, RawSplit, Split

SAME = {"MPO": "JPEG"}
"""Formats that are another one with something behind it."""

LEAK = (
    "AP then says how well they are remembered; take them out of one of the splits, or deal anew with tools/split_data.py, "
    "whose --group and --group-field keep together what belongs together"
)


def unusable(raw: RawSplit, looks: Looks) -> set[int]:
    """Return the images, by number, that cannot be decoded, or have another size than annotated."""
    undecodable = set(np.flatnonzero(~looks.decoded).tolist())
    return undecodable | set(_of_other_size(raw, looks))


def in_files(raw: RawSplit, looks: Looks, split: Split) -> list[Finding]:
    """Return what is wrong with the image files of a split, each for itself and among them."""
    undecodable = np.flatnonzero(~looks.decoded).tolist()
    damaged = [row for row in undecodable if _passes(raw, row)]
    other_size = _of_other_size(raw, looks)
    shown = {row: f"({said})" for row, said in enumerate(looks.damage.tolist()) if said}
    suffixes = Image.registered_extensions()
    promised = [_same(suffixes.get(Path(path).suffix.lower(), "")) for path in raw.paths]
    kinds = [_same(kind) for kind in looks.formats.tolist()]
    mislabelled = {
        row: f"is {kind}" for row, (kind, wanted) in enumerate(zip(kinds, promised, strict=True)) if kind and wanted != kind
    }
    twice = {row: f"as image {raw.images[other]['id']} is" for row, other in repeated_files(raw.paths).items()}
    same = np.where(looks.decoded, repeated(looks.digests), -1)
    copies = {row: f"like {raw.paths[int(same[row])]}" for row in np.flatnonzero(same >= 0).tolist() if row not in twice}
    unreadable = [row for row in undecodable if row not in damaged]
    cases: list[tuple[str, Effect, Mapping[int, str] | Sequence[int], str]] = [
        (
            "images that cannot be read",
            Effect.REFUSED,
            unreadable,
            _sentence(raw, unreadable),
        ),
        ("images of another size than annotated", Effect.REFUSED, other_size, _sentence(raw, other_size)),
        ("images that are damaged inside", Effect.CHANGES, damaged, "runs leave them out; replace them"),
        (
            "images that are shown though damaged",
            Effect.CHANGES,
            shown,
            "what comes after the damage may be grey, shifted or of other colours, and is taken as it is; replace them",
        ),
        ("images that are listed twice", Effect.CHANGES, twice, "each entry has boxes of its own; --write joins them"),
        ("images that are copies of another one", Effect.NOTED, copies, "they count twice; remove all but one"),
        (
            "images whose suffix is another format's",
            Effect.NOTED,
            mislabelled,
            "they are read as what they are; other tools may not; rename them",
        ),
    ]
    return [_finding(*case, raw=raw, split=split) for case in cases if case[2]]


def across(read: Mapping[Split, RawSplit], looks: Mapping[Split, Looks]) -> list[Finding]:
    """Return which validation images are training images too: as a file, to the byte, or as good as."""
    train, val = read["train"], read["val"]
    shared = shared_files(train.paths, val.paths)
    usable = looks["val"].decoded
    same = identical(looks["val"].digests, looks["train"].digests)
    copies = {row: int(same[row]) for row in np.flatnonzero(usable & (same >= 0)).tolist() if row not in shared}
    alike = near(looks["val"], looks["train"])
    almost = {row: int(alike[row]) for row in np.flatnonzero(alike >= 0).tolist() if row not in shared and row not in copies}
    cases = {
        "validation images that are training images": shared,
        "validation images that are copies of training images": copies,
        "validation images that are nearly the same as training images": almost,
    }
    findings = []
    for what, pairs in cases.items():
        if pairs:
            places = tuple(f"{val.paths[row]} and {train.paths[other]}" for row, other in list(pairs.items())[:MOST_PLACES])
            shown = tuple(
                Exhibit(
                    f"{Path(val.paths[row]).name} (val), {Path(train.paths[other]).name} (train)",
                    (val.paths[row], train.paths[other]),
                )
                for row, other in list(pairs.items())[:MOST_EXHIBITS]
            )
            findings.append(Finding(what, Effect.CHANGES, "val", len(pairs), places, LEAK, shown))
    return findings


def _finding(
    what: str, effect: Effect, rows: Mapping[int, str] | Sequence[int], remedy: str, *, raw: RawSplit, split: Split
) -> Finding:
    """Return a finding about images: their numbers, perhaps with what is to be said of each."""
    words = rows if isinstance(rows, Mapping) else dict.fromkeys(rows, "")
    told = [(raw.paths[row], said) for row, said in words.items()]
    places = tuple(f"{path} {said}".rstrip() for path, said in told[:MOST_PLACES])
    shown = tuple(Exhibit(f"{Path(path).name} {said}".rstrip(), (path,)) for path, said in told[:MOST_EXHIBITS])
    return Finding(what, effect, split, len(words), places, remedy, shown)


def _same(kind: str) -> str:
    return SAME.get(kind, kind)


def _of_other_size(raw: RawSplit, looks: Looks) -> list[int]:
    """Return the images, by number, that are neither as stored nor as turned of the annotated size."""
    rows = []
    for row, image in enumerate(raw.images):
        annotated = (image.get("height"), image.get("width"))
        height, width = looks.sizes[row].tolist()
        turned = int(looks.orientations[row]) in TURNED
        fitting = [(width, height)] if turned and raw.upright else [(height, width)] + [(width, height)] * turned
        if looks.decoded[row] and all(isinstance(side, int) and side > 0 for side in annotated) and annotated not in fitting:
            rows.append(row)
    return rows


def _sentence(raw: RawSplit, rows: Sequence[int]) -> str:
    """Return what a run says of the first of these images; nothing where there is none."""
    for row in rows:
        size = raw.images[row].get("height"), raw.images[row].get("width")
        try:
            load_annotated(raw.paths[row], (size[0] or 1, size[1] or 1), 1, raw.upright)
        except ImageError as error:
            return str(error)
    return ""


def _passes(raw: RawSplit, row: int) -> bool:
    """Say whether an image passes the check before a run, which reads headers and ends."""
    height, width = raw.images[row].get("height"), raw.images[row].get("width")
    return isinstance(height, int) and isinstance(width, int) and looks_right(raw.paths[row], (height, width), raw.upright)
