"""Networks without weights: to look at their parts, shapes and costs in no time and memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from detkit.parts import Detector, DetectorSpec


def weightless(model: DetectorSpec, num_classes: int) -> Detector:
    """Return the detector on the device ``meta``, or with weights where a part reads tensors as it is built."""
    try:
        with torch.device("meta"), _NothingDrawn():
            return model.build(num_classes)
    except (RuntimeError, NotImplementedError):  # as in torch.linspace(0, rate, depth).tolist()
        with torch.random.fork_rng(devices=()):
            return model.build(num_classes)


class _NothingDrawn(TorchFunctionMode):
    """Leaves tensors alone that would be filled with normally distributed numbers.

    For a tensor without values that would do nothing either, but only after torch has imported its compiler: 2 seconds.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if function is nn.init.normal_ or function is Tensor.normal_:
            return args[0] if args else named["tensor"]
        return function(*args, **named)
