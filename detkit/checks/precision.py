"""Cases about number formats and memory formats."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

from detkit.checks.case import Broken, Skipped
from detkit.checks.subject import MapSubject, near
from detkit.checks.training import check_half
from detkit.checks.watch import Watch, no_single_precision, one_device


def keeps_its_dtype(subject: MapSubject) -> None:
    """Float32 gives float32; a float64 network computes in float64 from end to end: nothing casts by name."""
    module = subject.scrambled()
    for x in subject.evaluate(module, subject.maps(2)):
        if x.is_floating_point() and x.dtype != torch.float32:
            raise Broken(f"a float32 network puts out {x.dtype}", "make tensors with dtype=x.dtype")
    module = module.double()
    maps = [x.double() for x in subject.maps(2)]
    with Watch(after=no_single_precision):
        subject.evaluate(module, maps)


def takes_half_precision(subject: MapSubject) -> None:
    """``.half()`` gives float16 values near those of float32, where the device can."""
    module, maps = subject.stirred(), subject.maps(2)
    expected = subject.evaluate(module, maps)
    try:
        found = subject.evaluate(module.half(), [x.half() for x in maps])
    except RuntimeError as error:
        if re.search(r"not implemented for 'Half'", str(error)):
            raise Skipped("this device has no float16 for one of its operations") from None
        raise
    for x in found:
        if subject.shapes is not None and x.dtype != torch.float16:
            raise Broken(f"a float16 network puts out {x.dtype}", "bring what was lifted back to x.dtype")
    check_half(subject, found, expected, ".half()")


def takes_channels_last(subject: MapSubject) -> None:
    """Channels-last memory gives the same values, in evaluation and training."""
    module, maps = subject.scrambled(), subject.maps(2)
    expected = subject.evaluate(module, maps)
    module = module.to(memory_format=torch.channels_last)
    last = [x.to(memory_format=torch.channels_last) for x in maps]
    advice = "an operation takes memory to lie in order: write reshape() for view(), or .contiguous() before it"
    near(subject.evaluate(module, last), expected, 1e-4, "channels_last", advice)
    subject.learn(module, last)


def stays_on_its_device(subject: MapSubject) -> None:
    """After ``.to(device)`` nothing is left behind, and nothing is made or read on the host.

    The device is ``meta``, which every machine has, and on which reading a value is an error.
    """
    module, maps = subject.built().to("meta"), [x.to("meta") for x in subject.maps(2)]
    for training in (False, True):
        arguments = _to_meta(subject.arguments(module.train(training), maps))
        with Watch(before=one_device):
            module(*arguments)


def _to_meta(value: Any) -> Any:
    """Return the arguments of a forward on the meta device."""
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_to_meta, value))
    if isinstance(value, tuple | list):
        return type(value)(map(_to_meta, value))
    return value
