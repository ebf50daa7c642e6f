"""C3k2: YOLO11's stage; C2f's shell around narrower units, or around C3k."""

from __future__ import annotations

from detkit.blocks.bottleneck import Bottleneck
from detkit.parts import BlockSpec
from detkit.stages.c2f import C2f


class C3k2(C2f):
    """C2f with narrow bottlenecks; ``unit=C3k()`` is the form of YOLO11's deeper stages."""

    unit: BlockSpec = Bottleneck(expansion=0.5)
    """What is chained inside."""
