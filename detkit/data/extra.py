"""Transforms of albumentations on samples."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detkit.data.augment import Albumentation
from detkit.data.collage import MIN_SIDE, MIN_VISIBLE
from detkit.errors import UserError
from detkit.spec import suggestion
from detkit.structures import Sample


class Extra:
    """Applies transforms of albumentations; boxes that they leave hardly visible are dropped.

    Args:
        chosen: which transforms; albumentations is imported only where there are any.

    Raises:
        UserError: albumentations has no such transform, or not with these arguments.
    """

    def __init__(self, chosen: Sequence[Albumentation]) -> None:
        self._compose = _compose(chosen) if chosen else None

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Return the sample transformed; all its randomness comes from ``rng``."""
        if self._compose is None:
            return sample
        self._compose.set_random_seed(int(rng.integers(2**32)))
        made = self._compose(image=sample.image, bboxes=sample.boxes, index=np.arange(len(sample.boxes)))
        if made["image"].shape != sample.image.shape:
            raise UserError(
                f"recipe.augment.extra makes {sample.image.shape[:2]} pictures {made['image'].shape[:2]}; leave out "
                "what changes the size, which data.size sets"
            )
        kept = sample.select(np.asarray(made["index"], np.int64))
        boxes = np.asarray(made["bboxes"], np.float32).reshape(-1, 4)
        return replace(kept, image=np.ascontiguousarray(made["image"]), boxes=boxes)


def _compose(chosen: Sequence[Albumentation]) -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # importing it would ask the network for news
    import albumentations

    boxes = albumentations.BboxParams(
        "pascal_voc", ["index"], clip=True, min_visibility=MIN_VISIBLE, min_width=MIN_SIDE, min_height=MIN_SIDE
    )
    return albumentations.Compose([_transform(albumentations, spec) for spec in chosen], bbox_params=boxes)


def _transform(library: Any, spec: Albumentation) -> Any:
    kinds = {name: kind for name, kind in vars(library).items() if _is_transform(library, kind)}
    if spec.name not in kinds:
        hint = suggestion(spec.name, kinds)
        raise UserError(f"recipe.augment.extra: albumentations {library.__version__} has no transform '{spec.name}'{hint}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # it only warns of arguments that it does not know
            return kinds[spec.name](**spec.arguments)
    except (TypeError, ValueError, Warning) as error:
        raise UserError(f"recipe.augment.extra: {spec.name} does not take {spec.arguments}: {error}") from None


def _is_transform(library: Any, kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, library.BasicTransform)
