"""Published folders: ``model.safetensors`` beside a ``config.json`` that says all about it; reading one runs no code."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from detkit.errors import UserError
from detkit.weights.archive import open_content
from detkit.weights.checkpoint import PREFIX, Checkpoint, checkpoint_of, read_checkpoint
from detkit.weights.records import Refused

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MARK = b'"detkit"'
"""In every config.json of detkit's; others put files of these names side by side too."""
LONGEST = 16 * 2**20
"""Bytes of a config.json that is read: one with all numbers of a thousand classes has a hundredth of it."""


def read_model(path: str | Path) -> Checkpoint:
    """Return what a detector can be rebuilt from: a checkpoint, a published folder, or the file of weights in one.

    Raises:
        UserError: it is none of these, damaged, or of a later format.
    """
    path = Path(path)
    folder = published_folder(path)
    if folder is None and path.name == WEIGHTS and path.is_file():
        raise UserError(f"{path} holds weights alone; keep the {CONFIG} that they were published with beside them")
    return read_checkpoint(path) if folder is None else read_folder(folder)


def published_folder(path: Path) -> Path | None:
    """Return the published folder that ``path`` is, or whose weights it is; None where it is neither."""
    folder = path.parent if path.name == WEIGHTS and not path.is_dir() else path
    config = folder / CONFIG
    if not config.is_file() or not (folder / WEIGHTS).is_file():
        return None
    return folder if MARK in _config_bytes(config) else None


def read_folder(folder: Path) -> Checkpoint:
    """Return what a published folder holds.

    Raises:
        UserError: it is damaged, not of detkit's, or of a later format.
    """
    config, weights = folder / CONFIG, folder / WEIGHTS
    content = _parsed(config)
    if content.get("sha256") != hashlib.sha256(weights.read_bytes()).hexdigest():
        raise UserError(f"{weights} is damaged, not fully downloaded, or not the file that {config} describes")
    try:
        tensors = open_content(weights).value
    except Refused as refusal:
        raise UserError(f"{weights} {refusal}") from None
    return checkpoint_of(content | {"state_dict": {f"{PREFIX}{name}": tensor for name, tensor in tensors.items()}}, config)


def _parsed(config: Path) -> dict[str, Any]:
    try:
        content = json.loads(_config_bytes(config))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{config} is not JSON: {str(error).splitlines()[0]}") from None
    if not isinstance(content, dict):
        raise UserError(f"{config} is not of a published detector: it holds a {type(content).__name__}")
    return content


def _config_bytes(config: Path) -> bytes:
    if config.stat().st_size > LONGEST:
        raise UserError(f"{config} is longer than {LONGEST:,} bytes, as no detector's is")
    return config.read_bytes()
