"""Watching the operations of a network as they reach the dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from detkit.checks.case import Broken
from detkit.checks.subject import tensors

Watcher = Callable[[Any, list[Tensor], list[Tensor]], None]
"""(operation, tensors in, tensors out) -> may raise `Broken`, in the part's own line."""

MOVES = ("aten::_to_copy", "aten::copy_")
"""Operations that are meant to go from device to device."""

LITERALS = ("lift_fresh", "lift_fresh_copy")
"""What makes a tensor of numbers in the code."""


class Watch(TorchDispatchMode):
    """While it is entered, calls ``before`` or ``after`` for every operation."""

    def __init__(self, before: Watcher | None = None, after: Watcher | None = None) -> None:
        super().__init__()
        self.before, self.after = before, after

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation."""
        given = tensors([args, kwargs or {}])
        if self.before is not None:
            self.before(func, given, [])
        out = func(*args, **(kwargs or {}))
        if self.after is not None:
            self.after(func, given, tensors(out))
        return out


def one_device(operation: Any, given: list[Tensor], out: list[Tensor]) -> None:
    """Refuse tensors of two devices in one operation; single numbers may be anywhere.

    Raises:
        Broken: there are.
    """
    devices = {x.device.type for x in given if x.ndim}
    if len(devices) > 1 and operation.name().split(".")[0] not in MOVES:
        raise Broken(
            f"{spoken(operation)} gets a tensor that stayed on the cpu when the module and its input went elsewhere",
            "make it with device=x.device, or keep it with register_buffer(..., persistent=False)",
        )


def no_single_precision(operation: Any, given: list[Tensor], out: list[Tensor]) -> None:
    """Refuse floating tensors of less than 64 bits, in a network whose input and weights have 64; constants may be shorter.

    Raises:
        Broken: there are.
    """
    constant = operation.is_view or spoken(operation) in LITERALS
    for x in () if constant else out:
        if x.is_floating_point() and x.dtype != torch.float64:
            dtype = str(x.dtype).removeprefix("torch.")
            raise Broken(
                f"{spoken(operation)} gives {dtype} in a network of float64",
                "cast nothing by name: make tensors with dtype=x.dtype; detkit.boxes.lift lifts half precision alone",
            )


def spoken(operation: Any) -> str:
    """Return an operation's name as a user knows it: ``add``, ``torchvision::nms``."""
    return str(operation.name().split(".")[0].removeprefix("aten::"))
