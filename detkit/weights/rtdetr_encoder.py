"""Names of the hybrid encoder's tensors in RT-DETR's state dicts (PyTorch, v1 and v2).

The publisher counts modules in the order in which they run; here they are named by the level that they make.
"""

from __future__ import annotations

import re
from collections.abc import Collection

Rules = tuple[tuple[str, str], ...]

PROJECTION: Rules = ((r"^0\b", "conv"), (r"^1\b", "norm"))
"""v1's names; v2's are ours."""
TRANSFORMER: Rules = (
    (r"\bself_attn\.in_proj_", "attention.qkv."),
    (r"\bself_attn\.out_proj\b", "attention.project"),
    (r"\blinear1\b", "feedforward.expand"),
    (r"\blinear2\b", "feedforward.reduce"),
    (r"\bnorm1\b", "attention_norm"),
    (r"\bnorm2\b", "feedforward_norm"),
)
FUSION: Rules = (
    (r"^conv1\b", "main"),
    (r"^conv2\b", "side"),
    (r"^conv3\b", "merge"),
    (r"^bottlenecks\b", "blocks"),
    (r"\.conv1\b", ".dense"),
    (r"\.conv2\b", ".pointwise"),
)


def encoder_names(names: Collection[str]) -> dict[str, str]:
    """Return the names of a whole detector's encoder, ``encoder.*`` -> ours, ``neck.*``; what has no role keeps its name."""
    found = {name: name.split(".") for name in names if name.startswith("encoder.")}
    last = max((int(words[2]) for words in found.values() if words[1] == "input_proj"), default=2)
    roles = _roles(last + 1)
    renamed = {}
    for name, words in found.items():
        role, rules = roles.get(".".join(words[1:3]), (None, ()))
        renamed[name] = name if role is None else f"neck.{role}.{_rewritten('.'.join(words[3:]), rules)}"
    return renamed


def _roles(levels: int) -> dict[str, tuple[str, Rules]]:
    """Return kind and number -> the role here, and how names inside it are rewritten; the coarsest level is p5."""
    finest = 6 - levels
    roles = {"encoder.0": ("intra", TRANSFORMER)}
    roles |= {f"input_proj.{index}": (f"projections.p{finest + index}", PROJECTION) for index in range(levels)}
    for index in range(levels - 1):
        coarse = finest + 1 + index
        roles |= {
            f"lateral_convs.{index}": (f"lateral.p{5 - index}", ()),
            f"fpn_blocks.{index}": (f"top_down.p{4 - index}.body", FUSION),
            f"downsample_convs.{index}": (f"bottom_up.p{coarse}.downsample", ()),
            f"pan_blocks.{index}": (f"bottom_up.p{coarse}.body", FUSION),
        }
    return roles


def _rewritten(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
