"""The decoupled, anchor-free dense head of YOLOv8 and YOLO11.

Distances to the four sides are predicted as distributions over bins. Generalized focal loss: Xiang Li et al., 2020,
arXiv:2006.04388. Every cell of every level predicts one box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from detkit.heads.branches import ConvBranch
from detkit.nn.anchors import cell_centres
from detkit.nn.cached import Cached
from detkit.parts import BranchSpec, HeadSpec
from detkit.structures import DenseOutput, Level, Targets

PRIOR_OBJECTS, PRIOR_SIZE = 5, 640
"""The class biases start from this many objects in an image of this many pixels a side."""


class DenseHead(HeadSpec):
    """One branch for boxes and one for classes on each level; the defaults are YOLOv8's."""

    gives = DenseOutput

    box_branch: BranchSpec = ConvBranch()
    """Predicts the distances."""
    class_branch: BranchSpec = ConvBranch()
    """Predicts the classes."""
    class_width: PositiveInt | None = None
    """Channels inside the class branches; none for the published rule, which asks for as many as there are classes (100 at
    most) and no fewer than the finest map's. A run whose ``init`` holds such branches keeps their width."""
    bins: int = Field(16, ge=2)
    """Of each distance: 0, 1, ... strides."""

    def build(self, levels: Sequence[Level], num_classes: int) -> nn.Module:
        """Return the head for maps of these levels."""
        return DenseHeadModule(self, levels, num_classes)


class DenseHeadModule(nn.Module):
    """``box_branch`` and ``class_branch`` hold one branch a level, named p3, p4, ...

    Attributes:
        class_tensors: names of those with a row for each class.
    """

    def __init__(self, spec: DenseHead, levels: Sequence[Level], num_classes: int) -> None:
        super().__init__()
        self.bins = spec.bins
        self.strides = tuple(level.stride for level in levels)
        finest = levels[0].channels
        box_hidden = max(16, finest // 4, 4 * spec.bins)
        class_hidden = spec.class_width or max(finest, min(num_classes, 100))
        self.box_branch, self.class_branch = nn.ModuleDict(), nn.ModuleDict()
        for channels, stride in levels:
            name = f"p{Level(channels, stride).number}"
            self.box_branch[name] = boxes = spec.box_branch.build(channels, box_hidden, 4 * spec.bins)
            self.class_branch[name] = classes = spec.class_branch.build(channels, class_hidden, num_classes)
            cells = (PRIOR_SIZE / stride) ** 2
            nn.init.constant_(boxes.get_parameter("predict.bias"), 1.0)
            nn.init.constant_(classes.get_parameter("predict.bias"), math.log(PRIOR_OBJECTS / num_classes / cells))
        self.cells = Cached()
        predictions = [f"class_branch.{name}.predict" for name in self.class_branch]
        self.class_tensors = tuple(f"{name}.{kind}" for name in predictions for kind in ("weight", "bias"))

    def forward(self, maps: list[Tensor], targets: Targets | None = None) -> DenseOutput:
        """One (B, channels, H, W) a level -> raw output over the N cells of all levels; targets are not used."""
        distances = self._rows(self.box_branch, maps)
        scores = self._rows(self.class_branch, maps)
        sizes = tuple((x.shape[-2], x.shape[-1]) for x in maps)
        anchors, strides = self.cells((sizes, maps[0].dtype, maps[0].device), lambda: cell_centres(maps, self.strides))
        return DenseOutput(distances.unflatten(-1, (4, self.bins)), scores, anchors, strides)

    @staticmethod
    def _rows(branches: nn.ModuleDict, maps: list[Tensor]) -> Tensor:
        """Run one branch a level and return (B, N, outputs)."""
        rows = [branch(x).flatten(2).mT for branch, x in zip(branches.values(), maps, strict=True)]
        return torch.cat(rows, 1)
