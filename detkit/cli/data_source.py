"""What a word on the command line names: a folder with a data set, a config, or an annotation file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from detkit.data.raw import SPLITS, Split
from detkit.data.spec import Data
from detkit.errors import UserError
from detkit.overrides import override


class Source(NamedTuple):
    """A data set to look at.

    Attributes:
        data: where it is.
        splits: which splits the word names; an annotation file is one, read as training's.
        name: what to call it.
        file: the annotation file, where the word names one.
    """

    data: Data
    splits: tuple[Split, ...]
    name: str
    file: Path | None = None


def find_source(word: str, overrides: Sequence[str]) -> Source:
    """Return the data set that a word names.

    Args:
        word: a folder, as for ``data.root``; a config or a run's ``config.json``; a COCO file, or a ``data.yaml``.
        overrides: of its ``Data`` spec, with or without ``data.`` in front; of the experiment, for a config.

    Raises:
        UserError: it names nothing of these.
    """
    path = Path(word).expanduser()
    if path.suffix == ".py" or path.name == "config.json":
        from detkit.cli.config import configured

        experiment, name = configured(word, [_dotted(text) for text in overrides])
        return Source(experiment.data, SPLITS, name)
    words = [text.removeprefix("data.") for text in overrides]
    if path.is_dir():
        return Source(override(Data(root=word), words), SPLITS, path.resolve().name)
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return Source(override(Data(root=str(path.parent)), words), SPLITS, path.resolve().parent.name)
    if path.suffix != ".json" or not path.is_file():
        raise UserError(f"{word} is neither a folder nor a config nor an annotation file; name the folder of a data set")
    file = path.resolve()
    root = file.parent.parent if file.parent.name == "annotations" else file.parent
    data = Data(root=str(root), format="coco", train_annotations=str(file), val_annotations=str(file))
    return Source(override(data, words), ("train",), path.stem, file)


def split_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words that name something, and the overrides among them."""
    overrides = [word for word in words if "=" in word and not Path(word).exists()]
    return [word for word in words if word not in overrides], overrides


def _dotted(text: str) -> str:
    """Return an override of an experiment's data with ``data.`` in front."""
    name = text.partition("=")[0].partition(".")[0]
    return f"data.{text}" if name in Data.model_fields else text
