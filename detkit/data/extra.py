"""Transforms of albumentations on samples."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from detkit.data.augment import Albumentation
from detkit.data.collage import MIN_SIDE, MIN_VISIBLE
from detkit.data.resize import GREY
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


def check_transforms(chosen: Sequence[Albumentation], shape: tuple[int, int]) -> None:
    """Try each transform on an empty picture of the input's (height, width).

    Raises:
        UserError: albumentations has no such transform, or not with these arguments, or it cannot be used on training images.
    """
    box = np.array([[shape[1] // 4, shape[0] // 4, shape[1] // 2, shape[0] // 2]], np.float32)
    sample = Sample(np.full((*shape, 3), GREY, np.uint8), box, np.zeros(1, np.int64), 0, shape)
    for spec in chosen:
        always = spec.model_copy(update={"arguments": spec.arguments | {"p": 1}})
        try:
            Extra([spec])
            Extra([always])(sample, np.random.default_rng(0))
        except (TypeError, ValueError, LookupError, RuntimeError, cv2.error) as error:
            raise UserError(
                f"recipe.augment.extra: {spec.name} cannot be used on images and boxes alone ({_reason(error)}); leave it out"
            ) from None


def _compose(chosen: Sequence[Albumentation]) -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # importing it would ask the network for news
    import albumentations

    boxes = albumentations.BboxParams(
        "pascal_voc", ["index"], clip=True, min_visibility=MIN_VISIBLE, min_width=MIN_SIDE, min_height=MIN_SIDE
    )
    transforms = [_transform(albumentations, spec) for spec in chosen]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Got processor for bboxes")  # where transforms only change colours
        return albumentations.Compose(transforms, bbox_params=boxes)


def _transform(library: Any, spec: Albumentation) -> Any:
    kinds = {name: kind for name, kind in vars(library).items() if _is_transform(library, kind)}
    if spec.name not in kinds:
        hint = suggestion(spec.name, kinds)
        raise UserError(f"recipe.augment.extra: albumentations {library.__version__} has no transform '{spec.name}'{hint}")
    known = list(inspect.signature(kinds[spec.name]).parameters)
    for name in spec.arguments:
        if name not in known:
            raise UserError(f"recipe.augment.extra: {spec.name} has no argument '{name}'{suggestion(name, known)}")
    try:
        return kinds[spec.name](**spec.arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"recipe.augment.extra: {spec.name} does not take {spec.arguments}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Return what albumentations complains about, on one line."""
    for cause in (error.__cause__, error.__context__):
        if isinstance(cause, ValidationError):
            return "; ".join(f"{entry['loc'][0]}: {entry['msg']}" if entry["loc"] else entry["msg"] for entry in cause.errors())
    return " ".join(str(error).split())


def _is_transform(library: Any, kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, library.BasicTransform)
