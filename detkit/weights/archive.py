"""Files of weights of any known format: PyTorch's zip and legacy formats, bare pickles, safetensors."""

from __future__ import annotations

import mmap
from pathlib import Path

from safetensors import SafetensorError, safe_open

from detkit.weights.legacy import legacy_content
from detkit.weights.memory import Content, Memory
from detkit.weights.records import Refused, shown
from detkit.weights.zipped import LOCAL_SIGNATURE, zipped_content


def open_content(path: Path) -> Content:
    """Read a file of any known format; nothing in it is run.

    Raises:
        Refused: it is of no known format, damaged, or not to be read.
    """
    with path.open("rb") as file:
        start = file.read(512)
        if not start:
            raise Refused("is empty")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if start[257:262] == b"ustar":
        raise Refused("is a tar archive, which PyTorch wrote before 2017; load it with PyTorch 1.x and save it anew")
    if start.startswith(LOCAL_SIGNATURE):
        return zipped_content(path, Memory(mapped))
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= len(mapped) - 8:
        return _safetensors(path)
    return legacy_content(Memory(mapped))


def _safetensors(path: Path) -> Content:
    """Return the tensors of a safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            value = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return Content(value, "safetensors", {}, file.metadata() or {})
    except (SafetensorError, ValueError, RuntimeError, OSError) as error:
        raise Refused(f"is a damaged safetensors file ({shown(str(error))})") from None
