"""Cases about sizes and widths: what a network puts out has the shape that the contract says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from detkit.checks.case import Broken, Skipped
from detkit.checks.subject import MapSubject, Size
from detkit.errors import UserError
from detkit.parts import Backbone, Neck

WIDTHS = (24, 20, 17)
"""Ones that not everything divides."""


def builds_and_runs(subject: MapSubject) -> None:
    """It is built with the facts alone and takes maps in evaluation."""
    subject.evaluate(subject.built(), subject.maps(2))


def keeps_its_shapes(subject: MapSubject) -> None:
    """Outputs have the contract's shapes at odd, oblong and tiny sizes, one network after the other size."""
    module = subject.scrambled()
    for size in subject.sizes:
        check_shapes(subject, module, 2, size)


def keeps_its_shapes_in_training(subject: MapSubject) -> None:
    """Outputs have the contract's shapes in training too."""
    module = subject.scrambled().train()
    compare_shapes(subject, subject.run(module, subject.maps(2)), module, 2, subject.training)


def check_shapes(subject: MapSubject, module: nn.Module, batch: int, size: Size) -> None:
    """Run at one size and compare.

    Raises:
        Broken: a shape is another.
    """
    compare_shapes(subject, subject.evaluate(module, subject.maps(batch, size)), module, batch, size)


def compare_shapes(subject: MapSubject, found: list[Tensor], module: nn.Module, batch: int, size: Size) -> None:
    """Compare outputs with the contract's shapes.

    Raises:
        Broken: a shape is another.
    """
    for x in found:
        if not x.isfinite().all():
            raise Broken(f"at {size[0]}x{size[1]} it puts out values that are not finite", "look for a division by zero")
    if subject.shapes is None:
        return
    expected = subject.shapes(module, batch, size)
    if len(found) != len(expected):
        advice = "return one tensor (B, C, H, W), no tuple" if subject.facts else "one map for each level of `out`"
        raise Broken(f"it puts out {len(found)} maps where the contract says {len(expected)}", advice)
    for x, shape in zip(found, expected, strict=True):
        where = f"for an input of {size[0]}x{size[1]}"
        if x.ndim != 4 or x.shape[0] != batch:
            raise Broken(f"{where} the output is {tuple(x.shape)} where the contract says {shape}", "return (B, C, H, W)")
        if x.shape[1] != shape[1]:
            raise Broken(f"the output has {x.shape[1]} channels where the contract says {shape[1]}", channels_advice(subject))
        if tuple(x.shape[2:]) != shape[2:]:
            heights = f"{x.shape[2]}x{x.shape[3]} where the contract says {shape[2]}x{shape[3]}"
            raise Broken(f"{where} the output is {heights}", sizes_advice(subject))


def channels_advice(subject: MapSubject) -> str:
    """Return what to write where channels are wrong."""
    if "channels" in subject.facts:
        return "a block returns as many channels as it is given; build() receives them as `channels`"
    if "outputs" in subject.facts:
        return "build() receives the wanted width as `outputs`"
    return "say in `out` what the maps are: Level(channels, stride), finest first"


def sizes_advice(subject: MapSubject) -> str:
    """Return what to write where sizes are wrong."""
    if subject.facts:
        return "pad convolutions by kernel_size // 2; what works in windows pads to whole windows, and crops after"
    return "strides round up: a level of stride s is ceil(H / s) x ceil(W / s); pad 3x3 convolutions of stride 2 by 1"


def takes_any_width(subject: MapSubject) -> str | None:
    """It works at widths that 8 and 16 don't divide; one that it can't take is refused by build() with a sentence."""
    if subject.wider is None:
        raise Skipped("its widths are its own")
    refused = []
    for width in WIDTHS:
        other = subject.wider(width)
        try:
            check_shapes(other, other.scrambled(), 2, (6, 5))
        except UserError as error:
            refused.append(f"{width} channels are refused: {error}")
            continue
        except (ValueError, AssertionError, RuntimeError, ZeroDivisionError) as error:
            raise Broken(
                f"at {width} channels it breaks: {type(error).__name__}: {error}",
                "take the largest share that divides (detkit.nn.widths.largest_divisor), "
                "or refuse the width with a detkit.errors.UserError that says which widths work",
            ) from error
    return "; ".join(refused) or None


def declares_its_levels(subject: MapSubject) -> None:
    """``out`` holds a Level for each map, finest first."""
    module = subject.built()
    if not isinstance(module, (Backbone, Neck)):
        kind = "Neck" if len(subject.takes) > 1 else "Backbone"
        raise Broken(f"build() returns a {type(module).__name__}, which is no {kind}", f"derive it from detkit.parts.{kind}")
    out = getattr(module, "out", None)
    if not out or not all(hasattr(level, "channels") and hasattr(level, "stride") for level in out):
        raise Broken("it doesn't say what it puts out", "set self.out = (Level(channels, stride), ...), finest first")
    strides = [level.stride for level in out]
    if strides != sorted(set(strides)):
        raise Broken(f"`out` has strides {strides}", "order levels from fine to coarse, one of each stride")


def builds_the_levels_asked_for(subject: MapSubject) -> None:
    """A backbone built for some strides gives these, and creates no parameter that serves only others."""
    whole = [level.stride for level in getattr(subject.built(), "out", ())]
    for wanted in ([whole[0]], whole[:-1], whole[1:]):
        if not wanted:
            continue
        torch.manual_seed(0)
        backbone = subject.spec.build(wanted)  # type: ignore[attr-defined]
        found = [level.stride for level in backbone.out]
        if found != wanted:
            raise Broken(f"asked for strides {wanted}, it gives {found}", "build only the stages up to the last stride wanted")
        subject.learn(backbone, subject.maps(2))
        idle = [name for name, parameter in backbone.named_parameters() if parameter.grad is None]
        if idle:
            raise Broken(
                f"asked for strides {wanted}, it has parameters that nothing reads: {', '.join(idle[:3])}",
                "create only what the levels wanted need; detkit/backbones/staged.py does",
            )


def remixes_gently(subject: MapSubject) -> None:
    """A remixer gives the levels that it is given, unchanged at the start, so that a trained detector stays as it was."""
    if subject.spec.reads is not None:  # type: ignore[attr-defined]
        raise Skipped("it names the strides that it reads, so it is no remixer")
    module: Any = subject.built()
    if tuple(module.out) != subject.takes:
        raise Broken(f"it is given {list(subject.takes)} and says {list(module.out)}", "set self.out = tuple(levels)")
    if not getattr(subject.spec, "gate", True):
        raise Skipped("its gate is off")
    maps = subject.maps(2)
    for given, found in zip(maps, subject.evaluate(module, maps), strict=True):
        if not torch.equal(given, found):
            raise Broken("its maps differ from the given ones at the start", "blend with a gate: detkit.nn.gate.blend")
