"""Folding a network for inference."""

from __future__ import annotations

from torch import nn

from detkit.nn.packed import PackedConv


def fuse(module: nn.Module) -> nn.Module:
    """Replace, in place, every descendant that has a method ``fused`` by what it returns, and pack what convolutions are left.

    Returns:
        ``module``, or what takes its place if it is a convolution itself.
    """
    if isinstance(module, PackedConv):
        return module
    for name, child in module.named_children():
        merge = getattr(child, "fused", None)
        module.add_module(name, fuse(merge() if callable(merge) else child))
    if type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return PackedConv(module)
    return module
