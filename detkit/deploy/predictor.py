"""Images in, objects in the pixels of each image out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch

from detkit.data.images import sample_of
from detkit.data.resize import fit
from detkit.data.spec import Data
from detkit.data.workers import collate
from detkit.deploy.found import Found
from detkit.deploy.images import ImageLike, pixels_of
from detkit.deploy.load import load_detector
from detkit.deploy.sources import Frame
from detkit.errors import UserError
from detkit.parts import Detector
from detkit.spec import suggestion


class Predictor:
    """A detector with all that it takes to use it on images: class names, input size, thresholds.

    Images are resized as in evaluation, a batch at a time, and detections come back in the pixels of the original image.
    """

    def __init__(
        self,
        detector: Detector,
        names: Sequence[str],
        shape: tuple[int, int] = (640, 640),
        resize: Literal["letterbox", "stretch"] = "letterbox",
        *,
        confidence: float = 0.25,
        iou: float = 0.7,
        limit: int = 300,
        classes: Sequence[str] | None = None,
        batch: int = 8,
        device: str | torch.device | None = None,
    ) -> None:
        """Take a detector; it is moved to the device and put in evaluation mode.

        Args:
            detector: with trained weights.
            names: class names by label.
            shape: input (height, width) in pixels, multiples of 32.
            resize: as in the training of the detector.
            confidence: least score of a detection.
            iou: overlap above which the worse of two boxes of a class is dropped (YOLO).
            limit: most detections of an image.
            classes: names of the classes to look for; None for all. Others are left out before ``limit`` counts, so that
                they take no place.
            batch: images that go through the network together.
            device: None for the GPU where there is one, else the CPU.

        Raises:
            UserError: a number out of its range, a class or a device that does not exist.
        """
        for name, value in {"confidence": confidence, "iou": iou}.items():
            if not 0 <= value <= 1:
                raise UserError(f"{name} is between 0 and 1, not {value:g}")
        for name, value in {"limit": limit, "batch": batch}.items():
            if value < 1:
                raise UserError(f"{name} is at least 1, not {value}")
        self.names = tuple(names)
        self.device = usable_device(device)
        self.detector = detector.eval().to(self.device).to(memory_format=torch.channels_last)
        self.shape, self.resize = shape, resize
        self.confidence, self.iou, self.limit = confidence, iou, limit
        self.batch = batch
        self._unwanted = None if classes is None else _others(self.names, classes).to(self.device)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        size: int | tuple[int, int] | None = None,
        overrides: Sequence[str] = (),
        **options: Any,
    ) -> Predictor:
        """Return the predictor of a checkpoint, fused.

        Args:
            path: checkpoint file, published folder, or ``hf:user/name`` for one on Hugging Face's hub.
            size: input pixels, one number or (height, width), multiples of 32; None for those of the training.
            overrides: such as ``["model.head.eval_layer=2"]``, on the stored experiment; the weights must fill that model.
            options: any of the constructor's, such as ``confidence=0.5``.

        Raises:
            UserError: it is no checkpoint that can be used, or an option that cannot be met.
        """
        loaded = load_detector(path, overrides)
        data = loaded.experiment.data
        shape = data.shape if size is None else _shape(size)
        return cls(loaded.detector.fuse(), loaded.names, **{"shape": shape, "resize": data.resize} | options)

    @overload
    def __call__(self, images: ImageLike) -> Found: ...  # type: ignore[overload-overlap] # str is iterable

    @overload
    def __call__(self, images: Iterable[ImageLike]) -> list[Found]: ...

    def __call__(self, images: ImageLike | Iterable[ImageLike]) -> Found | list[Found]:
        """Return the objects of an image, or a list of those of each image where several are given, even in a list of one.

        Args:
            images: one or several, each a (H, W, 3) uint8 RGB array, a PIL image or the path of an image file.

        Raises:
            UserError: it is no image, or one that cannot be read.
        """
        alone = isinstance(images, ImageLike) or not isinstance(images, Iterable)
        several = [images] if isinstance(images, ImageLike) or not isinstance(images, Iterable) else images
        frames = (Frame("", pixels_of(item)) for item in several)
        found = [item for _, item in self.stream(frames)]
        return found[0] if alone else found

    def stream(self, frames: Iterable[Frame], batch: int | None = None) -> Iterator[tuple[Frame, Found]]:
        """Yield each frame with its objects; frames are taken a batch at a time, so that a source may have no end.

        Args:
            frames: any source, such as one that `detkit.deploy.sources.open_source` opened.
            batch: frames taken together; None for the predictor's own. A live source wants 1.
        """
        remaining = iter(frames)
        while chunk := list(islice(remaining, batch or self.batch)):
            yield from zip(chunk, self._detect([frame.image for frame in chunk]), strict=True)

    @torch.inference_mode()
    def _detect(self, images: Sequence[np.ndarray]) -> list[Found]:
        """Return the objects of images (H, W, 3) that go through the network together."""
        batch = collate([fit(sample_of(image), self.shape, self.resize) for image in images])
        predictions = self.detector(batch.images.to(self.device))
        if self._unwanted is not None:
            predictions = predictions._replace(scores=predictions.scores.masked_fill(self._unwanted, -1))
        found = self.detector.detect(predictions, batch.geometry, self.confidence, self.iou, self.limit)
        return [Found.of(item, self.names) for item in found]


def _shape(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return the input (height, width) that a user wrote.

    Raises:
        UserError: no network takes such a size.
    """
    try:
        return Data(size=size).shape
    except UserError as error:
        raise UserError(str(error).replace("Data.size", "size")) from None


def usable_device(wanted: str | torch.device | None) -> torch.device:
    """Return the device, on which a tensor could be made; none wanted is the GPU where there is one, else the CPU.

    Raises:
        UserError: there is no such device here.
    """
    try:
        device = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device '{wanted}' cannot be used here ({reason}); write cpu, cuda or cuda:1") from None
    return device


def _others(names: Sequence[str], wanted: Sequence[str]) -> torch.Tensor:
    """Return which classes (C,) bool are not wanted.

    Raises:
        UserError: a name that the detector does not know.
    """
    for name in wanted:
        if name not in names:
            raise UserError(f"the detector knows no class '{name}'{suggestion(name, names)}")
    return torch.tensor([name not in wanted for name in names])
