"""``compile=true``: what of a detector ``torch.compile`` makes quicker, and where it does not.

Compiled are the modules that the detector names (`Detector.compilable`), for the forward and backward pass of training steps
alone. They are compiled for fixed shapes: one shape, or one for each size of multi-scale training, so that what a step
computes depends on nothing that happened before it, and resumed runs stay what they are. Evaluation, denoising, losses and
matching run as they always do; weights, their names, copies and checkpoints know nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from detkit.errors import UserError
from detkit.parts import Detector

BACKEND = "inductor"
"""Of ``torch.compile``."""
SPARE = 8
"""Graphs of one function beyond those foreseen before torch gives up on it, with a warning: images with very many boxes make
some (RT-DETR's noisy queries)."""


class Compiled:
    """A context in which a detector's parts are replaced by their compiled forms; each is compiled when it first runs.

    Args:
        detector: whose parts they are.
        sizes: of images that there will be.

    Raises:
        UserError: the detector names no parts.
    """

    def __init__(self, detector: Detector, sizes: int) -> None:
        parts = detector.compilable()
        if not parts:
            raise UserError(f"compile: {type(detector).__name__}.compilable() names nothing to compile; write compile=false")
        self._forwards = [(part, torch.compile(part.forward, backend=BACKEND, dynamic=False)) for part in parts]
        self._limit = sizes * len(parts) + SPARE  # parts of one class count together

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Put the compiled forms in their places, and take them away again.

        Raises:
            UserError: torch cannot compile one of them.
        """
        from torch._dynamo import config  # takes two seconds

        for part, forward in self._forwards:
            vars(part)["forward"] = forward
        try:
            with config.patch(cache_size_limit=self._limit), _explained("this network"):  # torch 2.6 has no recompile_limit
                yield
        finally:
            for part, _ in self._forwards:
                del vars(part)["forward"]


def check_compiler(device: torch.device) -> None:
    """Compile a sum, which needs all that a network does: a C++ compiler on the CPU, Triton on a GPU.

    Raises:
        UserError: there is none that works.
    """
    with _explained(
        f"for {device.type} on this machine", " A CPU takes a C++ compiler (g++), an NVIDIA GPU the package triton."
    ):
        torch.compile(torch.add, backend=BACKEND)(torch.ones(2, device=device), 1)


@contextmanager
def _explained(what: str, hint: str = "") -> Iterator[None]:
    """Turn torch's account of what it cannot compile into a sentence."""
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        reason = str(getattr(error, "inner_exception", error)).strip().partition("\n")[0]
        raise UserError(
            f"compile: torch.compile cannot compile {what}: {reason}.{hint} To train without: compile=false"
        ) from error
