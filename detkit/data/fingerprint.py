"""What tells whether two runs had the same data, without telling where it was: counts, and a hash of names and boxes."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from detkit.data.annotations import Annotations
from detkit.data.layout import Splits

FOLDERS = re.compile(r".*[\\/]", re.DOTALL)


def fingerprints(splits: Splits) -> dict[str, dict[str, Any]]:
    """Return the fingerprint of each split of a data set."""
    return {"train": fingerprint(splits.train), "val": fingerprint(splits.val)}


def fingerprint(split: Annotations) -> dict[str, Any]:
    """Return the numbers of images and boxes of a split, and the SHA-256 of what is learnt or scored from it but pixels.

    That is class names, files' own names, without folders, image sizes, and boxes with label and crowd flag, in order, as they
    are after checks and mending: another format of annotations makes no difference where it keeps the order.
    """
    digest = hashlib.sha256("\0".join(split.names).encode("utf-8", "surrogateescape"))
    for path in split.paths:
        digest.update(b"\0" + FOLDERS.sub("", path).encode("utf-8", "surrogateescape"))
    for values in (split.sizes, split.starts, split.boxes, split.labels, split.crowds):
        digest.update(values.tobytes())
    return {"images": len(split), "boxes": len(split.labels), "sha256": digest.hexdigest()}
