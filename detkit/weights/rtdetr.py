"""Names of RT-DETR detectors, whole or the backbone alone, in their publisher's state dicts (PyTorch, v1 and v2), all sizes."""

from __future__ import annotations

from collections.abc import Collection

from detkit.errors import UserError
from detkit.weights.rtdetr_backbone import backbone_names
from detkit.weights.rtdetr_decoder import decoder_names
from detkit.weights.rtdetr_encoder import encoder_names

MARKS = ("decoder.enc_score_head.weight", "encoder.lateral_convs.0.conv.weight")
"""Names that every state dict of the family has."""
BACKBONE_MARKS = ("conv1.conv1_1.conv.weight", "stem.stem1.conv.weight")
"""Names of which a backbone's own state dict (PResNet, HGNetv2) has one."""


def recognises(state: Collection[str]) -> bool:
    """Say whether the names are those of a whole RT-DETR, or of its backbone alone."""
    return all(mark in state for mark in MARKS) or _is_backbone(state)


def rename(state: Collection[str]) -> dict[str, str]:
    """Return the names of a whole RT-DETR, or of its backbone alone, -> ours in a whole detector.

    What has no role keeps its name; computed tables are left out.

    Raises:
        UserError: they are none.
    """
    if not recognises(state):
        raise UserError(
            f"weights: not the names of RT-DETR: no {' or no '.join(map(repr, MARKS))}; nor those of a backbone of it alone: "
            f"no {' and no '.join(map(repr, BACKBONE_MARKS))}"
        )
    if _is_backbone(state):
        below = {name: f"backbone.{name}" for name in state}
        ours = backbone_names(below.values())
        return {theirs: ours[name] for theirs, name in below.items()}
    known = backbone_names(state) | encoder_names(state) | decoder_names(state)
    rest = [name for name in state if name not in known and not name.startswith("decoder.")]
    return known | {name: name for name in rest}


def _is_backbone(state: Collection[str]) -> bool:
    return any(mark in state for mark in BACKBONE_MARKS)
