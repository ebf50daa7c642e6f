"""Cases about what is made of a network: fused, compiled, exported, inserted, counted."""

from __future__ import annotations

import copy
from math import inf
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import get_total_norm

from detkit.checks.case import Broken, Skipped
from detkit.checks.subject import MapSubject, near, tensors
from detkit.nn.fuse import fuse
from detkit.parts import BlockSpec, Insert
from detkit.profiling.flops import count_flops

EQUAL = 1e-4
"""How far a network that was folded or compiled may be off, as a share of the largest value."""
ROUNDED = 0.01
"""A gradient smaller than this share of the largest one may be none at all, as that of a bias whose output is normalised."""


def fuses(subject: MapSubject) -> str | None:
    """``fuse()`` gives an equal network in evaluation; no batch norm is left."""
    host, maps = nn.Sequential(subject.scrambled()).eval(), subject.maps(2)
    expected = subject.evaluate(host[0], maps)
    fused = fuse(host)[0]  # type: ignore[index]
    advice = "fused() must return what equals the module in evaluation: fold the norm's running statistics"
    near(subject.evaluate(fused, maps), expected, EQUAL, "fused", advice)
    left = [name for name, module in fused.named_modules() if isinstance(module, _BatchNorm)]
    if left:
        return f"fuse() leaves the batch norm '{left[0]}': use detkit.nn.conv.ConvNorm, or give your module fused()"
    return None


def starts_gated(subject: MapSubject) -> None:
    """Inserted after a level, it leaves the maps as they were, to the bit, until its gate opens."""
    if not isinstance(subject.spec, BlockSpec):
        raise Skipped("only blocks are inserted")
    maps = subject.maps(2)
    insert = Insert(block=subject.spec).build(maps[0].shape[1])
    given = maps[0].clone()
    if subject.evaluate(subject.built(), subject.maps(2))[0].shape != given.shape:
        raise Skipped("its output has another shape than its input")
    if not torch.equal(subject.evaluate(insert, maps)[0], given):
        raise Broken("inserted with a closed gate it changes the map", "put out finite values, and don't overwrite the input")


def compiles(subject: MapSubject) -> None:
    """``torch.compile`` makes one graph of its training step, forward and backward."""
    _compiles(subject, "aot_eager", training=True)


def compiles_with_inductor(subject: MapSubject) -> None:
    """``torch.compile`` with inductor gives the same, in evaluation and training."""
    _compiles(subject, "inductor", training=False)
    _compiles(subject, "inductor", training=True)


def _compiles(subject: MapSubject, backend: str, *, training: bool) -> None:
    module, maps = subject.scrambled(), subject.maps(2)
    twin = copy.deepcopy(module)
    torch.compiler.reset()
    compiled = torch.compile(twin, backend=backend, fullgraph=True, dynamic=False)
    least = 1e-6
    if training:
        torch.manual_seed(0)
        subject.learn(module, maps)
        torch.manual_seed(0)
        subject.learn(compiled, maps)  # type: ignore[arg-type]
        expected = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
        found = [parameter.grad for parameter in twin.parameters() if parameter.grad is not None]
        least = max(least, ROUNDED * get_total_norm(expected, inf).item())
    else:
        expected, found = subject.evaluate(module, maps), subject.evaluate(compiled, maps)  # type: ignore[arg-type]
    if subject.smooth:
        advice = "let nothing in forward depend on Python state that changes"
        near(found, expected, 1e-3, f"compiled with {backend}", advice, least=least)


def exports(subject: MapSubject) -> None:
    """``torch.export`` takes it, and the exported program gives the same."""
    module, maps = subject.scrambled().eval(), subject.maps(2)
    expected = subject.evaluate(module, maps)
    arguments = subject.arguments(module, maps)
    with torch.no_grad():
        found = torch.export.export(module, arguments).module()(*arguments)
    near(tensors(found), expected, EQUAL, "exported", "let nothing in forward depend on values; sizes and fields may decide")


def exports_any_size(subject: MapSubject) -> str | None:
    """``torch.export`` takes it with free batch and sizes, or it says that it has a size."""
    if len(subject.takes) > 1:
        raise Skipped("sizes of several levels hang together; the detector's export is tried as a whole")
    module, maps, others = subject.scrambled().eval(), subject.maps(2), subject.maps(3, subject.larger)
    free = torch.export.Dim.DYNAMIC
    try:
        with torch.no_grad():
            dynamic = ({0: free, 2: free, 3: free},)
            exported: Any = torch.export.export(module, (maps[0],), dynamic_shapes=dynamic).module()
            found = subject.run(exported, others)
    except Exception as error:  # noqa: BLE001 (whatever the exporter says: a fixed size is no fault)
        return f"exports for one size only ({type(error).__name__})"
    near(found, subject.evaluate(module, others), EQUAL, "exported, at another size")
    return None


def counts_its_operations(subject: MapSubject) -> str | None:
    """Operations whose cost ``tools/profile.py`` can't count are named."""
    module = subject.scrambled().eval()
    names = count_flops(module, *subject.arguments(module, subject.maps(1))).uncounted
    return f"no cost is known of {', '.join(sorted(names))}: profiles count 0 for it" if names else None
