"""RT-DETR's names of the encoder, in both versions, lead to all of ours and nothing else."""

import pytest
import torch

from detkit.blocks.aifi import AIFI
from detkit.necks.hybrid import HybridEncoder
from detkit.stages.repc3 import RepC3
from detkit.structures import Level
from detkit.weights.rtdetr_encoder import encoder_names
from tests.necks.plain_hybrid import PlainEncoder

CHANNELS = (512, 1024, 2048)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("width", "expansion", "hidden", "layers"),
    [(256, 0.5, 1024, 1), (256, 1.0, 1024, 1), (384, 1.0, 2048, 1), (512, 1.0, 2048, 2)],
)
def test_names_and_shapes(version, width, expansion, hidden, layers):
    with torch.device("meta"):
        plain = PlainEncoder(CHANNELS, width, expansion, hidden, layers)
        spec = HybridEncoder(width=width, stage=RepC3(expansion=expansion), intra=AIFI(layers=layers, feedforward=hidden))
        neck = spec.build([Level(channels, 8 << index) for index, channels in enumerate(CHANNELS)])
    theirs = {f"encoder.{name}": tensor.shape for name, tensor in plain.state_dict().items()}
    if version == 1:
        theirs = {numbered(name): shape for name, shape in theirs.items()}
    ours = {f"neck.{name}": tensor.shape for name, tensor in neck.state_dict().items()}
    assert {renamed: theirs[name] for name, renamed in encoder_names(theirs).items()} == ours


def numbered(name: str) -> str:
    """Return the first version's name: it counts a projection's convolution and norm."""
    return name.replace(".conv.", ".0.").replace(".norm.", ".1.") if ".input_proj." in name else name


def test_leaves_other_parts_alone_and_keeps_what_has_no_role():
    names = ["backbone.conv1.weight", "decoder.enc_output.0.weight", "encoder.unheard.0.weight", "encoder.pos_embed2"]
    assert encoder_names(names) == {name: name for name in names[2:]}
