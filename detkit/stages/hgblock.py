"""HGBlock: HGNetv2's stage; chained layers of which every one's output reaches the end.

PP-HGNetV2 of PaddleClas, 2023, without an article; used by RT-DETR: Yian Zhao et al., 2023, arXiv:2304.08069. One-shot
aggregation: Youngwan Lee et al., 2019, arXiv:1904.09730: y = excite(squeeze(concat[x, layer 1, ..., layer n])).
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field, PositiveInt
from torch import Tensor, cat, nn

from detkit.blocks.hg import HGConv, HGLayer, hg_conv
from detkit.nn.widths import fraction
from detkit.parts import BlockSpec, StageSpec


class HGBlock(StageSpec):
    """Blocks of six layers, one after the other; depth counts the blocks, all but the first of which have a shortcut."""

    layer: HGLayer = HGConv()
    """The first layer of each block, which changes the width. Its kind of norm is that of the whole block."""
    unit: BlockSpec | None = None
    """The other layers; none for ones like the first."""
    layers: PositiveInt = 6
    """In each block."""
    expansion: float = Field(0.375, gt=0)
    """Width of the layers, as a fraction of the outputs."""

    def build(self, inputs: int, outputs: int, depth: int) -> nn.Module:
        """Return a stage of ``depth`` blocks from ``inputs`` to ``outputs`` channels."""
        return nn.Sequential(*(self._block(outputs if index else inputs, outputs, index > 0) for index in range(depth)))

    def _block(self, inputs: int, outputs: int, shortcut: bool) -> nn.Module:
        hidden, middle = fraction(outputs, self.expansion), fraction(outputs, 0.5)
        unit = self.unit or self.layer
        return HGBlockStage(
            self.layer.layer(inputs, hidden),
            (unit.build(hidden) for _ in range(self.layers - 1)),
            squeeze=hg_conv(inputs + self.layers * hidden, middle, norm=self.layer.norm),
            excite=hg_conv(middle, outputs, norm=self.layer.norm),
            shortcut=shortcut,
        )


class HGBlockStage(nn.Module):
    """One block: ``first`` changes the width, ``units`` are chained on it, ``squeeze`` and ``excite`` merge all maps."""

    def __init__(
        self, first: nn.Module, units: Iterable[nn.Module], squeeze: nn.Module, excite: nn.Module, shortcut: bool
    ) -> None:
        super().__init__()
        self.first = first
        self.units = nn.ModuleList(units)
        self.squeeze = squeeze
        self.excite = excite
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, Cin, H, W) -> (B, Cout, H, W)."""
        maps = [x, self.first(x)]
        for unit in self.units:
            maps.append(unit(maps[-1]))
        y = self.excite(self.squeeze(cat(maps, 1)))
        return x + y if self.shortcut else y
