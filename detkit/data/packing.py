"""What a reader found, as arrays: what can be mended is mended and counted, and no image is lost for a bad box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from detkit.data.annotations import Annotations, Texts
from detkit.data.files import read_header
from detkit.data.raw import RawSplit

TOLERANCE = 0.01
"""Pixels; COCO's own coordinates are rounded to hundredths, so that some boxes reach out of their image by as much."""

SEVERAL = 10
"""Boxes that are not all in the first pixel of their images by chance."""
HUGE = 2**53
"""No number of an annotation is so large, and every array holds it."""

NAN = float("nan")


class Fault(NamedTuple):
    """What is wrong with some boxes.

    Attributes:
        what: that it is, and what was done.
        entries: (N,) int64, which of a split's raw annotations.
    """

    what: str
    entries: np.ndarray

    def note(self, raw: RawSplit) -> str:
        """Return a line that counts the boxes and names the first."""
        return f"{raw.where}: {self.what}: {len(self.entries)} ({raw.place(int(self.entries[0]))}, for example)"


class Packed(NamedTuple):
    """A split as arrays.

    Attributes:
        annotations: mended.
        faults: what was mended.
        entries: (N,) int64, which of the raw annotations each box was.
    """

    annotations: Annotations
    faults: list[Fault]
    entries: np.ndarray


def pack(raw: RawSplit, names: tuple[str, ...]) -> tuple[Annotations, list[str]]:
    """Return a split as arrays, mended, and a line for each kind of mending.

    Args:
        raw: what a reader returned.
        names: the class names by label; every category of the split is among them.
    """
    packed = pack_and_tell(raw, names)
    return packed.annotations, [*raw.tally.notes(raw.where), *(fault.note(raw) for fault in packed.faults)]


def pack_and_tell(raw: RawSplit, names: tuple[str, ...]) -> Packed:
    """Return a split as arrays, mended, and which boxes were; arguments as for `pack`."""
    sizes = np.array([_size(image, path) for image, path in zip(raw.images, raw.paths, strict=True)], np.int64)
    ids = {name: number for number, name in raw.categories.items()}
    free = max(raw.categories, default=0) + 1
    boxes, faults, entries = _pack_boxes(raw, sizes, {number: names.index(name) for name, number in ids.items()})
    packed = Annotations(
        names=names,
        category_ids=np.array([ids.get(name, free + label) for label, name in enumerate(names)], np.int64),
        paths=Texts(raw.paths),
        image_ids=np.array([image["id"] for image in raw.images], np.int64),
        sizes=sizes,
        upright=raw.upright,
        **boxes,
    )
    return Packed(packed, faults, entries)


def _size(image: dict[str, Any], path: str) -> tuple[int, int]:
    """Return (height, width) as annotated, else as the file stores them."""
    height, width = image.get("height"), image.get("width")
    if isinstance(height, int) and isinstance(width, int) and 0 < height < HUGE and 0 < width < HUGE:
        return height, width
    return read_header(path).size


def _pack_boxes(
    raw: RawSplit, sizes: np.ndarray, label_of: Mapping[int, int]
) -> tuple[dict[str, Any], list[Fault], np.ndarray]:
    """Return the per-box arrays of `Annotations` in order of images, what was mended, and the entry of each box."""
    row_of = {image["id"]: row for row, image in enumerate(raw.images)}
    entries = raw.annotations
    rows = np.array([row_of.get(entry.get("image_id", -1), -1) for entry in entries], np.int64)
    labels = np.array([label_of.get(entry.get("category_id", -1), -1) for entry in entries], np.int64)
    xywh = np.array([four_numbers(entry.get("bbox")) for entry in entries], np.float64).reshape(-1, 4)
    areas = np.array([_number(entry.get("area")) for entry in entries], np.float64)
    limits = sizes[rows][:, ::-1]
    clipped = _clip(xywh, limits)
    reasons = {
        "boxes of an image that the file does not list, dropped": rows < 0,
        "boxes of a category that the file does not list, dropped": labels < 0,
        "boxes that are not four finite numbers, dropped": ~np.isfinite(xywh).all(1),
        "boxes without width or height, dropped": (xywh[:, 2:] <= 0).any(1),
        "boxes in fractions of their image, not in pixels, dropped": _in_fractions(xywh, limits),
        "boxes outside their image, dropped": (clipped[:, 2:] <= 0).any(1),
    }
    dropped = np.zeros(len(entries), bool)
    faults = []
    for what, bad in reasons.items():
        faults.append(Fault(what, np.flatnonzero(bad & ~dropped)))
        dropped |= bad
    changed = (clipped != xywh).any(1) & ~dropped
    faults.append(Fault("boxes reaching out of their image, clipped", np.flatnonzero(changed)))
    areas = np.where((areas > 0) & ~changed, areas, clipped[:, 2] * clipped[:, 3])
    kept = np.flatnonzero(~dropped)
    kept = kept[np.argsort(rows[kept], kind="stable")]
    counts = np.bincount(rows[kept], minlength=len(sizes))
    arrays = {
        "starts": np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
        "boxes": clipped[kept],
        "labels": labels[kept],
        "crowds": np.array([_is_crowd(entries[i].get("iscrowd")) for i in kept.tolist()], np.bool_),
        "areas": areas[kept],
        "annotation_ids": np.array([_whole(entries[i].get("id")) for i in kept.tolist()], np.int64),
    }
    return arrays, [fault for fault in faults if len(fault.entries)], kept


def _clip(xywh: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Clip boxes (N, 4) to images of (N, 2) width and height; boxes that are inside stay as they are, to the bit."""
    with np.errstate(invalid="ignore"):  # infinite boxes; they are dropped
        low, high = xywh[:, :2], xywh[:, :2] + xywh[:, 2:]
    beyond = ((low < -TOLERANCE) | (high > limits + TOLERANCE)).any(1)
    inside = low.clip(0, limits)
    clipped = np.concatenate([inside, high.clip(0, limits) - inside], axis=1)
    return np.where(beyond[:, None], clipped, xywh)


def _in_fractions(xywh: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return (N,) bool: all, where no box of `SEVERAL` leaves the first pixel of its image, of (N, 2) sides; else none."""
    with np.errstate(invalid="ignore"):  # infinite boxes and those that are no numbers say nothing
        within = ((xywh[:, :2] + xywh[:, 2:] <= 1) & (limits > 1)).all(1)
    known = np.isfinite(xywh).all(1)
    whole = (xywh[known] == np.rint(xywh[known])).all()
    return np.full(len(xywh), bool(known.sum() >= SEVERAL and within[known].all() and not whole))


def _is_crowd(value: Any) -> bool:
    """Say whether a flag is set; some tools write it as text."""
    return bool(value) and str(value).strip().lower() not in ("0", "false")


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and abs(value) <= HUGE else NAN


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and abs(value) <= HUGE else 0


def four_numbers(value: Any) -> list[float]:
    """Return a box as floating-point numbers, not finite where they are none."""
    return [_number(item) for item in value] if isinstance(value, list) and len(value) == 4 else [NAN] * 4
