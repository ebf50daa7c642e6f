"""What PyTorch's commonest complaints mean for a part, and what to write instead."""

from __future__ import annotations

import re

HINTS = (
    (
        r"before Module\.__init__\(\) call|has no attribute '_(modules|parameters|buffers|forward_hooks)'",
        "a module's __init__ begins with super().__init__()",
    ),
    (
        r"NVIDIA driver|Torch not compiled with CUDA|No CUDA GPUs",
        "name no device: make tensors with device=x.device, and leave .cuda() and .to() to whoever uses the part",
    ),
    (
        r"Expected more than 1 value per channel",
        "batch norm has nothing to normalise where a map is pooled to 1x1 and the batch is one image; "
        "leave the norm out there, or use layer norm",
    ),
    (
        r"Inference tensors cannot be saved|Inplace update to inference tensor",
        "a tensor kept from evaluation is used in training; keep it with detkit.nn.cached.Cached",
    ),
    (
        r"must have the same dtype|expected scalar type|should be the same|expected m1 and m2",
        "two dtypes meet: make tensors with dtype=x.dtype, and cast nothing to float32 by name",
    ),
    (
        r"view size is not compatible|Use \.reshape",
        "view() needs memory in one order; write reshape() or flatten()",
    ),
    (
        r"inplace operation|modified by an inplace",
        "a value that the gradient needs is overwritten; leave out inplace=True, or the +=",
    ),
    (
        r"bigger than (actual )?input|Kernel size can't be greater|Padding size should be less",
        "the map is smaller than the kernel or window: pad to a whole window inside, and crop after",
    ),
    (
        r"(Sizes of tensors must match|size of tensor a|shape '.*' is invalid|cannot reshape|Can't redistribute)",
        "a size was taken for granted: read it from x.shape, pad to whole windows inside, and crop after",
    ),
    (
        r"channels, but got|expected input\[",
        "a convolution gets another number of channels than it was built for; build() receives the real one",
    ),
    (
        r"divisible by|num_channels must be",
        "not every width divides so: detkit.nn.widths.largest_divisor finds one that does, "
        "or refuse the width in build() with a detkit.errors.UserError",
    ),
    (
        r"[Dd]ata.dependent|\.item\(\)|on meta tensors|nonzero|GuardOnDataDependent",
        "the network reads values on the host; write it with tensor operations (where, gather, topk) alone",
    ),
)
"""Patterns in messages, and advice; the first that fits counts."""


def hint(message: str) -> str:
    """Return the advice for an error's message; nothing where none fits."""
    return next((advice for pattern, advice in HINTS if re.search(pattern, message)), "")
