"""Names of whole RT-DETR detectors in their publisher's state dicts (PyTorch, v1 and v2), all sizes."""

from __future__ import annotations

from collections.abc import Collection

from detkit.errors import UserError
from detkit.weights.rtdetr_backbone import backbone_names
from detkit.weights.rtdetr_decoder import decoder_names
from detkit.weights.rtdetr_encoder import encoder_names

MARKS = ("decoder.enc_score_head.weight", "encoder.lateral_convs.0.conv.weight")
"""Names that every state dict of the family has."""


def recognises(state: Collection[str]) -> bool:
    """Say whether the names are those of a whole RT-DETR."""
    return all(mark in state for mark in MARKS)


def rename(state: Collection[str]) -> dict[str, str]:
    """Return the names of a whole RT-DETR -> ours; what has no role keeps its name, computed tables are left out.

    Raises:
        UserError: they are none.
    """
    if not recognises(state):
        raise UserError(f"weights: not the names of RT-DETR: no {' or no '.join(repr(mark) for mark in MARKS)}")
    known = backbone_names(state) | encoder_names(state) | decoder_names(state)
    rest = [name for name in state if name not in known and not name.startswith("decoder.")]
    return known | {name: name for name in rest}
