"""What a width cannot take is told."""

import pytest

from detkit.blocks.aifi import AIFI
from detkit.blocks.dramit import DRAMiT
from detkit.blocks.irmb import IRMB
from detkit.blocks.masa import MaSA
from detkit.blocks.psa import PSA
from detkit.blocks.ret import RetBlock
from detkit.cli.show import fit_lines
from detkit.nn.fitted import Fit, fits
from detkit.zoo import yolov8


@pytest.mark.parametrize(
    ("block", "channels", "name", "taken"),
    [
        (IRMB(), 288, "mixer", Fit("head_channels", 64, 48, 288)),
        (PSA(), 96, "", Fit("head_channels", 64, 48, 96)),
        (AIFI(), 100, "", Fit("heads", 8, 5, 100)),
        (MaSA(), 20, "", Fit("heads", 8, 5, 20)),
        (RetBlock(), 20, "operator", Fit("heads", 8, 5, 20)),
        (DRAMiT(head_channels=16), 40, "", Fit("head_channels", 16, 10, 40)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_does_not_divide_is_told(block, channels, name, taken):
    assert list(fits(block.build(channels))) == [(name, taken)]


@pytest.mark.parametrize("channels", [32, 64, 128])
def test_one_head_or_heads_as_asked_are_not(channels):
    assert not list(fits(IRMB().build(channels)))


def test_lines_name_the_first_part_and_count_the_others():
    lines = list(fit_lines(yolov8("m", unit=IRMB())))
    assert lines == [
        "head_channels=64 does not divide 96 channels; 48 does: backbone.stages.1.body.blocks.0.mixer and 3 more",
        "head_channels=64 does not divide 288 channels; 48 does: backbone.stages.3.body.blocks.0.mixer and 1 more",
    ]
