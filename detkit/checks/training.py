"""Cases about training: gradients, small batches, mixed precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detkit.checks.case import Broken
from detkit.checks.subject import MapSubject, near

HALF_TOLERANCE = 0.05
"""How far half precision may be off, as a share of the largest value."""


def trains_with_one_image(subject: MapSubject) -> None:
    """One small image can be trained on, and every parameter, and the input, gets a finite gradient."""
    module, maps = subject.scrambled(), subject.maps(1)
    subject.learn(module, maps)
    check_gradients(module, maps)


def check_gradients(module: nn.Module, maps: list[Tensor]) -> None:
    """Check the gradients of a network's parameters and inputs.

    Raises:
        Broken: one is missing, or not finite.
    """
    wanted = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    idle = [name for name, parameter in wanted.items() if parameter.grad is None]
    if idle:
        raise Broken(
            f"no gradient reaches {listed(idle)}",
            "use the parameter in forward, don't detach it, or don't create it: distributed training fails on idle parameters",
        )
    wild = [name for name, parameter in wanted.items() if parameter.grad is not None and not parameter.grad.isfinite().all()]
    if wild:
        raise Broken(f"the gradient of {listed(wild)} is not finite", "look for a root, logarithm or division at zero")
    if any(x.grad is None for x in maps):
        raise Broken(
            "no gradient reaches the input", "what lies before the part must train too: leave out detach() and no_grad()"
        )
    if not all(x.grad.isfinite().all() for x in maps if x.grad is not None):
        raise Broken("the gradient of the input is not finite", "look for a root, logarithm or division at zero")


def listed(names: list[str]) -> str:
    """Return the first few names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def trains_after_inference(subject: MapSubject) -> None:
    """What evaluation keeps (tables, positions) doesn't disturb training at the same size."""
    module = subject.scrambled().eval()
    with torch.inference_mode():
        subject.run(module, subject.maps(1))
    subject.learn(module, subject.maps(1))


def takes_bfloat16_autocast(subject: MapSubject) -> None:
    """Under bf16 autocast outputs stay near those of float32, and training gives finite gradients."""
    _takes_autocast(subject, torch.bfloat16)


def takes_float16_autocast(subject: MapSubject) -> None:
    """Under fp16 autocast outputs stay near those of float32, and training gives finite gradients."""
    _takes_autocast(subject, torch.float16)


def _takes_autocast(subject: MapSubject, dtype: torch.dtype) -> None:
    module, maps = subject.stirred(), subject.maps(2)
    expected = subject.evaluate(module, maps)
    with torch.autocast("cpu", dtype):
        found = subject.evaluate(module, maps)
        subject.learn(module, maps)
    what = f"{str(dtype).removeprefix('torch.')} autocast"
    check_half(subject, found, expected, what)
    check_gradients(module, maps)


def check_half(subject: MapSubject, found: list[Tensor], expected: list[Tensor], what: str) -> None:
    """Compare what half precision gives with what float32 gives.

    Raises:
        Broken: it is far off, or not finite.
    """
    advice = "lift what needs it with detkit.boxes.lift: sums of many squares, softmax, norms"
    if subject.smooth:
        near(found, expected, HALF_TOLERANCE, what, advice)
    elif not all(x.isfinite().all() for x in found):
        raise Broken(f"{what}: values are not finite", advice)
