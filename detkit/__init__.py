"""detkit: object detection on PyTorch Lightning in which every module fits every slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from detkit.deploy.predictor import Predictor

__version__ = "0.1.0"


def load(path: str | Path, **options: Any) -> Predictor:
    """Return the predictor of a checkpoint: ``print(detkit.load("runs/yolo11n/0/best.ckpt")("photo.jpg"))``.

    Args:
        path: checkpoint file, published folder, or ``hf:user/name`` for one on Hugging Face's hub.
        options: ``confidence``, ``iou``, ``limit``, ``classes``, ``size``, ``tiles``, ``overlap``, ``batch``, ``device``,
            ``overrides``; see `detkit.deploy.predict.load_predictor`.

    Raises:
        UserError: it is no checkpoint that can be used, or an option that cannot be met.
    """
    from detkit.deploy.predict import load_predictor  # `import detkit` must not wait for torch

    return load_predictor(path, **options)
