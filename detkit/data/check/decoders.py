"""What decoders say of files that they show although they are damaged: they write it to standard error, without a name."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

STANDARD_ERROR = 2
DAMAGE = re.compile(r"(Corrupt JPEG data: .*|Premature end of JPEG file.*|Inconsistent progression.*)|TIFF_Error (.*)")
"""libjpeg's words, and libtiff's by way of OpenCV; what else they say (of profiles and versions) is no damage."""


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Keep what decoders write from the terminal; what tells of damage is in the list afterwards."""
    said: list[str] = []
    try:
        terminal = os.dup(STANDARD_ERROR)
    except OSError:  # closed, as services may have it: then nobody says anything
        yield said
        return
    with TemporaryFile() as kept:
        sys.stderr.flush()
        os.dup2(kept.fileno(), STANDARD_ERROR)
        try:
            yield said
        finally:
            os.dup2(terminal, STANDARD_ERROR)
            os.close(terminal)
        kept.seek(0)
        lines = kept.read().decode(errors="replace").splitlines()
    said += [found[1] or found[2] for line in lines if (found := DAMAGE.search(line))]
