"""From a run to a folder that others can use: weights, all that it takes to rebuild the detector, numbers, a model card."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from detkit import __version__
from detkit.deploy.card import Licence, card
from detkit.deploy.load import rebuild
from detkit.deploy.places import last_word, without_folders, without_places
from detkit.errors import UserError
from detkit.evaluation.coco import ClassResult
from detkit.evaluation.confidence import WorkingPoint
from detkit.spec import to_dict
from detkit.weights.checkpoint import FORMAT, Checkpoint, checkpoint_of, read_content
from detkit.weights.files import replace_file
from detkit.weights.folder import CONFIG, WEIGHTS

BEST, LAST = "best.ckpt", "last.ckpt"
CARD = "README.md"
HISTORY = "History"
"""Entry of a checkpoint's callbacks that holds the results of evaluations (`detkit.train.history`)."""
PICTURES = {
    "val_batch.jpg": "Labels beside predictions, on validation images",
    "plots/best/precision_recall.png": "Precision over recall",
}
"""Of a run's best epoch, where it has them: what they show."""
OWN = (CONFIG, WEIGHTS, CARD, *(Path(name).name for name in PICTURES))
"""All that a published folder may hold."""
VERSIONS = ("detkit", "python", "torch", "lightning")


class Published(NamedTuple):
    """What `publish` wrote.

    Attributes:
        source: the checkpoint.
        files: by name, in the folder.
        licence: what the card says.
    """

    source: Path
    files: tuple[str, ...]
    licence: Licence


def publish(
    source: Path, output: Path, *, last: bool = False, licence: str = "", half: bool = False, force: bool = False
) -> Published:
    """Write the folder; it tells no path of this machine.

    Args:
        source: folder of a run, or a checkpoint; its averaged weights are taken where it has some.
        output: the folder; made where there is none.
        last: take ``last.ckpt`` of the run, not ``best.ckpt``.
        licence: that you give it to others under, as an SPDX or Hugging Face identifier; empty: the card says it is unknown.
        half: store weights in half precision; detectors still compute in single.
        force: replace an earlier publication in a folder that is not empty; other files in it stay.

    Raises:
        UserError: there is no checkpoint that can be used, or the folder holds something.
    """
    _check_output(source, output, force)
    file = source / (LAST if last else BEST) if source.is_dir() else source
    content = read_content(file)
    checkpoint = checkpoint_of(content, file)
    loaded = rebuild(checkpoint, file)  # what cannot be loaded is not published
    weights = save(_stored(loaded.detector.state_dict(), half), metadata=_remarks(checkpoint))
    pictures = {name: text for name, text in PICTURES.items() if file.name == BEST and (file.parent / name).is_file()}
    data = loaded.experiment.data
    config = {
        "format": FORMAT,
        "detkit": __version__,
        "classes": list(checkpoint.classes),
        "input": {"size": list(data.shape), "resize": data.resize},
        "precision": "float16" if half else "float32",
        "averaged": checkpoint.averaged,
        "epoch": checkpoint.epoch,
        "global_step": checkpoint.step,
        "metrics": _metrics(content),
        "data": checkpoint.data,
        "licence": without_folders(checkpoint.licence),
        "versions": _versions(content, checkpoint, file.parent / CONFIG),
        "modules": [last_word(module) for module in checkpoint.modules],
        "experiment": without_places(to_dict(loaded.experiment)),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    terms = Licence.of(licence, checkpoint.licence)
    shown = {Path(name).name: text for name, text in pictures.items()}
    text = card(output.resolve().name, config, loaded.detector, terms, shown)
    output.mkdir(parents=True, exist_ok=True)
    for name in OWN:
        (output / name).unlink(missing_ok=True)
    replace_file(output / WEIGHTS, weights)
    replace_file(output / CARD, text.encode())
    for name in pictures:
        shutil.copyfile(file.parent / name, output / Path(name).name)
    replace_file(output / CONFIG, (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode())  # now it can be used
    return Published(file, tuple(name for name in OWN if (output / name).exists()), terms)


def _check_output(source: Path, output: Path, force: bool) -> None:
    """Check that nothing of the user's is overwritten.

    Raises:
        UserError: it would be.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"{output} is a file; name a folder")
    if any((output / name).exists() for name in (BEST, LAST)):
        raise UserError(f"{output} is a run's folder; name another one")
    if source.is_dir() and source.resolve() == output.resolve():
        raise UserError(f"{output} is what is to be published; name another folder")
    if output.is_dir() and any(output.iterdir()) and not force:
        raise UserError(f"{output} is not empty; name another folder, or replace what was published there with --force")


def _stored(state: Mapping[str, Tensor], half: bool) -> dict[str, Tensor]:
    """Return tensors as safetensors takes them: each with its own memory, in order.

    Raises:
        UserError: a number is too large for half precision.
    """
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    if half:
        stored = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in stored.items()}
        large = next((name for name, tensor in stored.items() if not torch.isfinite(tensor).all()), None)
        if large is not None:
            raise UserError(f"{large} holds numbers that half precision cannot; publish without --half")
    return stored


def _remarks(checkpoint: Checkpoint) -> dict[str, str]:
    """Return what the file of weights says by itself."""
    licence = {"license": without_folders(checkpoint.licence)} if checkpoint.licence else {}
    return {"format": "pt", "detkit": __version__, **licence}


def _metrics(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return COCO's numbers of a checkpoint's weights, by class too; None where they have not been evaluated."""
    latest = content.get("callbacks", {}).get(HISTORY, {}).get("last")
    if latest is None or latest["epoch"] != content["epoch"] + 1:  # saved in mid-epoch
        return None
    point = latest.get("point") and WorkingPoint(*latest["point"]).numbers()  # which earlier checkpoints lack
    classes = {name: ClassResult(*item)._asdict() for name, item in latest["classes"].items()}
    counts = {name: latest[name] for name in ("epoch", "images", "boxes")}
    counts["unreadable"] = len(latest.get("unreadable", ()))
    return counts | latest["numbers"] | {"best": point or None, "classes": classes}


def _versions(content: Mapping[str, Any], checkpoint: Checkpoint, config: Path) -> dict[str, str]:
    """Return what the weights were trained with: as the run's config.json tells, or the checkpoint alone."""
    versions: dict[str, Any] = {"detkit": checkpoint.version, "lightning": content.get("pytorch-lightning_version")}
    if config.is_file():
        versions |= json.loads(config.read_text(encoding="utf-8")).get("versions", {})
    return {name: versions[name] for name in VERSIONS if isinstance(versions.get(name), str)}
