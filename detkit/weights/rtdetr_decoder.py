"""Names of the decoder's tensors in RT-DETR's state dicts (PyTorch, v1 and v2)."""

from __future__ import annotations

import re
from collections.abc import Collection

COMPUTED = re.compile(r"^decoder\.(anchors|valid_mask)$|\.num_points_scale$")
"""Tables that follow from sizes, and are no weights here."""

RULES = (
    (r"^decoder\.layers\b", "layers"),
    (r"\bself_attn\.in_proj_", "attention.qkv."),
    (r"\bself_attn\.out_proj\b", "attention.project"),
    (r"\bcross_attn\.sampling_offsets\b", "cross.offsets"),
    (r"\bcross_attn\.attention_weights\b", "cross.weights"),
    (r"\bcross_attn\.value_proj\b", "cross.value"),
    (r"\bcross_attn\.output_proj\b", "cross.output"),
    (r"\bnorm1\b", "attention_norm"),
    (r"\bnorm2\b", "cross_norm"),
    (r"\bnorm3\b", "feedforward_norm"),
    (r"\blinear1\b", "feedforward.expand"),
    (r"\blinear2\b", "feedforward.reduce"),
    (r"^denoising_class_embed\b", "denoising.embedding"),
    (r"^query_pos_head\b", "position"),
    (r"^enc_output\.(0|proj)\b", "select.project"),
    (r"^enc_output\.(1|norm)\b", "select.norm"),
    (r"^enc_score_head\b", "select.classes"),
    (r"^enc_bbox_head\b", "select.boxes"),
    (r"^dec_score_head\b", "classes"),
    (r"^dec_bbox_head\b", "boxes"),
)


def decoder_names(names: Collection[str]) -> dict[str, str]:
    """Return the names of a whole detector's decoder, ``decoder.*`` -> ours, ``head.*``; computed tables are left out."""
    found = [name for name in names if name.startswith("decoder.") and not COMPUTED.search(name)]
    finest = 6 - len({name.split(".")[2] for name in found if name.startswith("decoder.input_proj.")})
    renamed = {}
    for name in found:
        ours = name.removeprefix("decoder.")
        for pattern, replacement in RULES:
            ours = re.sub(pattern, replacement, ours)
        ours = re.sub(r"^input_proj\.(\d+)", lambda index: f"project.p{finest + int(index[1])}", ours)
        renamed[name] = f"head.{ours}"
    return renamed
