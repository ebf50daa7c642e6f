"""Folding a network for inference."""

from __future__ import annotations

from torch import nn


def fuse(module: nn.Module) -> nn.Module:
    """Replace, in place, every descendant that has a method ``fused`` by what it returns; return ``module``."""
    for name, child in module.named_children():
        merge = getattr(child, "fused", None)
        module.add_module(name, fuse(merge() if callable(merge) else child))
    return module
