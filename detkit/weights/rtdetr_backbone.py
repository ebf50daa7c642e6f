"""Names of the backbones' tensors in RT-DETR's state dicts (PyTorch, v1 and v2): PResNet and HGNetv2, timm's of it included."""

from __future__ import annotations

import re
from collections.abc import Collection

Rules = tuple[tuple[str, str], ...]

PRESNET: Rules = (
    (r"\.conv1\.conv1_1\b", ".stem.first"),
    (r"\.conv1\.conv1_2\b", ".stem.second"),
    (r"\.conv1\.conv1_3\b", ".stem.third"),
    (r"\bres_layers\b", "stages"),
    (r"\bbranch2a\b", "body.first"),
    (r"\bbranch2b\b", "body.second"),
    (r"\bbranch2c\b", "body.third"),
    (r"\bshort(\.conv)?\.(?=(conv|norm)\.)", "shortcut.project."),  # `conv` is a level of its own beside a pooling
)
HGNET: Rules = (
    (r"\bstem1\b", "reduce"),
    (r"\bstem2a\b", "narrow"),
    (r"\bstem2b\b", "widen"),
    (r"\bstem3\b", "merge"),
    (r"\bstem4\b", "project"),
    (r"\b(narrow|widen)\.conv\.1\b", r"\1.conv"),  # beside a padding
    (r"\baggregation\.0\b", "squeeze"),  # timm's name, as the next one
    (r"\baggregation\.1\b", "excite"),
    (r"\blayers\.0\b", "first"),
    *((rf"\blayers\.{index + 1}\b", f"units.{index}") for index in range(5)),
    (r"\.conv1\b", ".pointwise"),
    (r"\.conv2\b", ".depthwise"),
    (r"\baggregation_squeeze_conv\b", "squeeze"),
    (r"\baggregation_excitation_conv\b", "excite"),
    (r"\bbn\b", "norm"),
)


def backbone_names(names: Collection[str]) -> dict[str, str]:
    """Return the names of a whole detector's backbone, ``backbone.*`` -> ours; what has no role keeps its name."""
    found = [name for name in names if name.startswith("backbone.")]
    rules = PRESNET if any(name.startswith("backbone.res_layers.") for name in found) else HGNET
    return {name: _renamed(name, rules) for name in found}


def _renamed(name: str, rules: Rules) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
