"""Gradients of a compiled network are compared where they are more than rounding."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from detkit.blocks.bottleneck import Bottleneck
from detkit.checks import graphs
from detkit.checks.case import examine
from detkit.checks.contracts import contract


class RoundsOtherwise(nn.Module):
    """A bias before a batch norm, which has no gradient but rounding; in a graph, the convolution rounds in another way.

    Attributes:
        error: by which share of itself the last bias is wrong there.
    """

    def __init__(self, channels: int, error: float) -> None:
        super().__init__()
        self.error = error
        self.conv, self.norm = nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels)

    def forward(self, x):
        if not torch.compiler.is_compiling():
            return self.norm(self.conv(x))
        x = torch.einsum("bihw,oi->bohw", x.double(), self.conv.weight.flatten(1).double()).to(x.dtype)
        return self.norm(x + self.conv.bias[:, None, None]) + self.error * self.norm.bias[:, None, None]


@pytest.mark.parametrize(("error", "outcome"), [(0.0, "held"), (0.01, "broke")])
def test_what_is_but_rounding_is_no_difference(error, outcome):
    subject = contract(Bottleneck.family()).subject(Bottleneck())
    finding = examine(graphs.compiles, replace(subject, make=lambda: RoundsOtherwise(32, error)))
    assert finding.outcome == outcome, finding.text
