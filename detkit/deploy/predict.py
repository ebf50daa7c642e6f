"""From a source to files: annotated pictures or video, and the objects as data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from detkit.deploy.predictor import Predictor
from detkit.deploy.sources import Skipped, Source
from detkit.deploy.tiles import TiledPredictor
from detkit.deploy.writers import open_writers
from detkit.errors import UserError


def load_predictor(path: str | Path, *, tiles: int | None = None, overlap: float = 0.2, **options: Any) -> Predictor:
    """Return the predictor of a checkpoint; for large images, one that goes over them in tiles.

    Args:
        path: checkpoint file, published folder, or ``hf:user/name`` for one on Hugging Face's hub.
        tiles: side of a tile in pixels; None looks at whole images only.
        overlap: least share of a tile's side that it has in common with its neighbour.
        options: of `Predictor.from_checkpoint`, such as ``confidence=0.5``, ``classes=["person"]``,
            ``overrides=["model.head.eval_layer=2"]``.

    Raises:
        UserError: it is no checkpoint that can be used, or an option that cannot be met.
    """
    if tiles is None:
        return Predictor.from_checkpoint(path, **options)
    return TiledPredictor.from_checkpoint(path, tiles=tiles, overlap=overlap, **options)


class Summary(NamedTuple):
    """What `predict_sources` did.

    Attributes:
        images: pictures or frames that were looked at.
        objects: found in all of them.
        skipped: files that could not be read, and a video that ended early.
        paths: what was written, by a word for it.
        interrupted: Ctrl-C came before the end of a source that has one.
    """

    images: int
    objects: int
    skipped: tuple[Skipped, ...]
    paths: dict[str, Path]
    interrupted: bool


def predict_sources(predictor: Predictor, source: Source, output: Path, save: Sequence[str] = ("pictures", "json")) -> Summary:
    """Predict on each frame of ``source`` and keep what ``save`` names in the folder ``output``.

    Ctrl-C ends it, whole: what was done so far is kept. A bar shows the progress of anything longer than two seconds.

    Args:
        predictor: images to objects.
        source: as `detkit.deploy.sources.open_source` returns.
        output: folder; made where there is none. Files in it that no earlier prediction wrote are never replaced.
        save: any of pictures (a video where the source is one), json, csv, txt.

    Raises:
        UserError: a file of the user's would be replaced, the output cannot be written, or no image can be read.
    """
    if "pictures" in save and source.root is not None and output.resolve() == source.root.resolve():
        raise UserError(f"the pictures would be mixed with the images that they show, in {output}; give another --output")
    writers = open_writers(save, source, output)
    images = objects = 0
    interrupted = False
    frames = tqdm(source, desc="predict", unit="image", total=source.total, delay=2, disable=None)
    try:
        with ExitStack() as stack:
            for writer in writers:
                stack.enter_context(closing(writer))
            for frame, found in predictor.stream(frames, batch=1 if source.live else None):
                for writer in writers:
                    writer.write(frame, found)
                images, objects = images + 1, objects + len(found)
    except KeyboardInterrupt:
        interrupted = not source.live
    except OSError as error:
        raise UserError(f"cannot write to {output}: {error.strerror or error}") from None
    if not images and source.skipped:
        name, reason = source.skipped[0]
        raise UserError(f"none of the {source.total} images in {source.root} can be read; {name}: {reason}")
    paths = {writer.label: writer.path for writer in writers} if images else {}
    return Summary(images, objects, tuple(source.skipped), paths, interrupted)
