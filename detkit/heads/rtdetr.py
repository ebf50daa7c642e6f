"""RT-DETR's decoder: queries chosen among the cells, refined layer by layer.

DETRs Beat YOLOs on Real-time Object Detection: Yian Zhao et al., 2023, arXiv:2304.08069; RT-DETRv2: Wenyu Lv et al., 2024,
arXiv:2407.17140. Every cell of every level proposes a box; the best become queries, which look at one another, then at a few
points around their boxes, and correct these. Every layer is supervised, so that any of them can be the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from detkit.boxes import normalise
from detkit.errors import UserError
from detkit.heads.decoder_layer import DecoderLayer
from detkit.heads.denoising import Denoising, NoisyQueries, attention_mask
from detkit.heads.selection import Selection, logit, prior_logit
from detkit.nn.anchors import cell_centres
from detkit.nn.attention import additive
from detkit.nn.cached import Cached
from detkit.nn.conv import ConvNorm
from detkit.nn.deformable import PointGrid
from detkit.nn.perceptron import Perceptron, zero_last
from detkit.parts import HeadSpec
from detkit.structures import Denoised, Level, Proposals, QueryOutput, Targets

if TYPE_CHECKING:
    from typing_extensions import Self


class RTDETRHead(HeadSpec):
    """Query selection, a decoder with iterative refinement, and denoising; the defaults are RT-DETR-R50's."""

    gives = QueryOutput

    queries: PositiveInt = 300
    """Boxes predicted an image; at most one for each cell."""
    depth: PositiveInt = 6
    """Layers of the decoder."""
    width: PositiveInt = 256
    """Channels of a query, a multiple of ``heads``."""
    heads: PositiveInt = 8
    """Of both attentions."""
    feedforward: PositiveInt = 1024
    """Channels inside a layer's feed-forward part."""
    points: int | tuple[int, ...] = 4
    """That a head reads on each level; a number for each level, finest first, makes them differ (RT-DETRv2)."""
    sampling: Literal["bilinear", "discrete"] = "bilinear"
    """How values are read at points: interpolated, or from one cell (RT-DETRv2; for deployment, after training bilinearly)."""
    eval_layer: PositiveInt | None = None
    """Layer whose boxes are used, 1 the first: fewer layers are quicker. None: the last."""
    denoising: int = Field(100, ge=0)
    """Noisy boxes an image that are to be denoised, and as many to be refused. 0: off."""
    label_noise: float = Field(0.5, ge=0, le=2)
    """Half of this share of the noisy boxes gets a random class."""
    box_noise: float = Field(1.0, ge=0)
    """How far corners of noisy boxes move, in half sides."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        points = (self.points,) if isinstance(self.points, int) else self.points
        if not points or min(points) < 1:
            raise ValueError(f"points should be 1 or more on each level (got {self.points})")
        if self.width % self.heads:
            raise ValueError(f"width should be a multiple of heads: {self.width} is none of {self.heads}")
        if self.eval_layer is not None and self.eval_layer > self.depth:
            raise ValueError(f"eval_layer should be at most the depth, {self.depth} (got {self.eval_layer})")
        return self

    def build(self, levels: Sequence[Level], num_classes: int) -> nn.Module:
        """Return the head for maps of these levels.

        Raises:
            UserError: ``points`` are given for another number of levels.
        """
        return RTDETRDecoder(self, levels, num_classes)


class Layout(NamedTuple):
    """What follows from the sizes of the maps alone.

    Attributes:
        centres: (N, 2) of all cells, x, y in input pixels.
        anchors: (N, 4) logits of the boxes that cells propose before anything is learnt, cxcywh.
        valid: (N, 1), 1 for cells that may propose, 0 on the outermost ring, whose boxes would cross the border.
        grid: where the levels' cells are.
    """

    centres: Tensor
    anchors: Tensor
    valid: Tensor
    grid: PointGrid


ANCHOR_SIZE = 0.05
"""Side of the anchors on the finest level, as a share of the input; twice as much on each coarser one."""
BORDER = 0.01
"""Anchors are valid where centre, width and height lie further than this from 0 and 1."""


class RTDETRDecoder(nn.Module):
    """``layers``, ``classes`` and ``boxes`` hold a module a layer; ``project`` one a level, named p3, p4, ...

    Attributes:
        class_tensors: names of those with a row for each class.
        compilable: names of the modules whose shapes follow from the images' alone; targets draw noise between them.
    """

    def __init__(self, spec: RTDETRHead, levels: Sequence[Level], num_classes: int) -> None:
        super().__init__()
        points = (spec.points,) * len(levels) if isinstance(spec.points, int) else spec.points
        if len(points) != len(levels):
            raise UserError(f"RTDETRHead: points={list(points)} are for {len(points)} levels; it is given {len(levels)}")
        self.points, self.queries, self.eval_layer = points, spec.queries, spec.eval_layer or spec.depth
        self.strides = tuple(level.stride for level in levels)
        width = spec.width
        self.project = nn.ModuleDict(
            {f"p{level.number}": ConvNorm(level.channels, width, activation=None, norm=nn.BatchNorm2d) for level in levels}
        )
        self.select = Selection(width, num_classes)
        discrete = spec.sampling == "discrete"
        self.layers = nn.ModuleList(
            DecoderLayer(width, spec.heads, spec.feedforward, points, discrete) for _ in range(spec.depth)
        )
        self.compilable = ("select", *(f"layers.{layer}" for layer in range(spec.depth)))
        self.position = Perceptron(4, 2 * width, width)
        self.classes = nn.ModuleList(nn.Linear(width, num_classes) for _ in range(spec.depth))
        self.class_tensors = tuple(f"classes.{layer}.{kind}" for layer in range(spec.depth) for kind in ("weight", "bias"))
        self.boxes = nn.ModuleList(Perceptron(width, width, width, 4) for _ in range(spec.depth))
        noise = spec.label_noise, spec.box_noise
        self.denoising = Denoising(spec.denoising, width, num_classes, *noise) if spec.denoising else None
        self.layouts = Cached()
        self._initialise()

    def _initialise(self) -> None:
        for classes in self.classes:
            nn.init.constant_(classes.get_parameter("bias"), prior_logit())
        for boxes in self.boxes:
            zero_last(boxes)
        for layer in (*self.position.layers, *(projection.get_submodule("conv") for projection in self.project.values())):
            nn.init.xavier_uniform_(layer.get_parameter("weight"))

    def forward(self, maps: list[Tensor], targets: Targets | None = None) -> QueryOutput:
        """One (B, channels, H, W) a level -> boxes and scores of Q queries.

        With targets of every layer, with what the queries started from and what became of boxes with noise; without
        targets of ``eval_layer`` alone.
        """
        shapes = tuple((x.shape[-2], x.shape[-1]) for x in maps)
        size = (shapes[0][0] * self.strides[0], shapes[0][1] * self.strides[0])
        projected = [project(x) for project, x in zip(self.project.values(), maps, strict=True)]
        cells = torch.cat([x.flatten(2).mT for x in projected], 1)
        layout = self.layouts((shapes, cells.dtype, cells.device), lambda: self._layout(projected, shapes, size))
        where = layout.anchors, layout.valid, layout.centres
        content, start, proposals = self.select(cells, *where, self.queries, training=targets is not None)
        if targets is None:
            boxes, scores = self._refine(content, start, cells, layout.grid, None, self.eval_layer)
            return QueryOutput(boxes[-1:], scores[-1:], size)
        noisy = None if self.denoising is None else self.denoising(targets, size)
        if noisy is None:
            boxes, scores = self._refine(content, start, cells, layout.grid, None, len(self.layers))
            return QueryOutput(boxes, scores, size, proposals)
        mask = additive(attention_mask(noisy.group, content.shape[1]), content.dtype)
        content = torch.cat((noisy.content, content), 1)
        start = torch.cat((noisy.boxes.to(start.dtype), start), 1)
        boxes, scores = self._refine(content, start, cells, layout.grid, mask, len(self.layers))
        return _parted(boxes, scores, size, proposals, noisy)

    def _refine(
        self, content: Tensor, boxes: Tensor, cells: Tensor, grid: PointGrid, mask: Tensor | None, depth: int
    ) -> tuple[Tensor, Tensor]:
        """Run the first ``depth`` layers; return boxes (L, B, Q, 4) and class logits (L, B, Q, C) of each.

        A layer reads the boxes that the one before made, detached; its own boxes, as they are supervised, rest on those
        boxes undetached, so that each box loss reaches two layers ("look forward twice", Zhang et al. 2022).
        """
        all_boxes, all_scores = [], []
        previous = boxes
        for layer, to_classes, to_boxes in zip(self.layers[:depth], self.classes, self.boxes, strict=False):
            content = layer(content, self.position(boxes.to(content.dtype)), boxes, cells, grid, mask)
            change = to_boxes(content)
            all_boxes.append((change + logit(previous)).sigmoid())
            previous = (change + logit(boxes)).sigmoid()
            boxes = previous.detach()
            all_scores.append(to_classes(content))
        return torch.stack(all_boxes), torch.stack(all_scores)

    def _layout(self, maps: list[Tensor], shapes: Sequence[tuple[int, int]], size: tuple[int, int]) -> Layout:
        """Return what follows from the sizes of ``maps``, one (B, C, H, W) a level."""
        centres, strides = cell_centres(maps, self.strides)
        level = (strides / self.strides[0]).log2().unsqueeze(-1).expand(-1, 2)
        anchors = torch.cat((normalise(centres, size), ANCHOR_SIZE * 2**level), -1)
        valid = ((anchors > BORDER) & (anchors < 1 - BORDER)).all(-1, keepdim=True)
        logits = (anchors / (1 - anchors)).log().masked_fill(~valid, torch.inf)
        return Layout(centres, logits, valid.to(maps[0].dtype), PointGrid.of(shapes, self.strides, self.points, centres.device))


def _parted(boxes: Tensor, scores: Tensor, size: tuple[int, int], proposals: Proposals, noisy: NoisyQueries) -> QueryOutput:
    """Part what became of the noisy queries, which come first, from the others."""
    count = noisy.group.shape[1]
    noisy_boxes, boxes = boxes.tensor_split([count], 2)
    noisy_scores, scores = scores.tensor_split([count], 2)
    denoised = Denoised(noisy_boxes, noisy_scores, noisy.target, noisy.positive, noisy.share)
    return QueryOutput(boxes, scores, size, proposals, denoised)
