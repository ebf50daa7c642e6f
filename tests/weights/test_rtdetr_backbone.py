"""Every tensor of the published backbones has its place, of its shape."""

import pytest
import torch

from detkit.backbones.hgnetv2 import SIZES, HGNetv2
from detkit.backbones.presnet import DEPTHS, PResNet
from detkit.weights.rtdetr_backbone import backbone_names


def conv_and_norm(conv, norm, outputs, inputs, kernel_size):
    """Yield the names and shapes of a convolution and its batch norm."""
    yield f"{conv}.weight", (outputs, inputs, kernel_size, kernel_size)
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{norm}.{name}", (outputs,)
    yield f"{norm}.num_batches_tracked", ()


def official_presnet(depth):
    """Yield the names and shapes that RT-DETR's PResNet has."""
    for number, (outputs, inputs) in enumerate(((32, 3), (32, 32), (64, 32)), 1):
        name = f"conv1.conv1_{number}"
        yield from conv_and_norm(f"{name}.conv", f"{name}.norm", outputs, inputs, 3)
    expansion, inputs = (4 if depth >= 50 else 1), 64
    for stage, blocks in enumerate(DEPTHS[depth]):
        width = 64 << stage
        branches = [(width, 1), (width, 3), (4 * width, 1)] if expansion == 4 else [(width, 3), (width, 3)]
        for block in range(blocks):
            prefix = f"res_layers.{stage}.blocks.{block}"
            if block == 0:
                short = f"{prefix}.short.conv" if stage else f"{prefix}.short"  # below a pooling where the size is halved
                yield from conv_and_norm(f"{short}.conv", f"{short}.norm", expansion * width, inputs, 1)
            for letter, (outputs, kernel_size) in zip("abc", branches, strict=False):
                branch = f"{prefix}.branch2{letter}"
                yield from conv_and_norm(f"{branch}.conv", f"{branch}.norm", outputs, inputs, kernel_size)
                inputs = outputs


def official_hgnet(size):
    """Yield the names and shapes that RT-DETR's HGNetv2 has."""

    def layer(name, outputs, inputs, kernel_size, conv="conv"):
        return conv_and_norm(f"{name}.{conv}", f"{name}.bn", outputs, inputs, kernel_size)

    (middle, inputs), widths, hidden, depths = SIZES[size]
    yield from layer("stem.stem1", middle, 3, 3)
    yield from layer("stem.stem2a", middle // 2, middle, 2, "conv.1")  # after a padding
    yield from layer("stem.stem2b", middle, middle // 2, 2, "conv.1")
    yield from layer("stem.stem3", middle, 2 * middle, 3)
    yield from layer("stem.stem4", inputs, middle, 1)
    for stage, (outputs, width, blocks) in enumerate(zip(widths, hidden, depths, strict=True)):
        if stage:
            yield from layer(f"stages.{stage}.downsample", inputs, 1, 3)
        for block in range(blocks):
            prefix, total = f"stages.{stage}.blocks.{block}", inputs
            for number in range(6):
                name, reads = f"{prefix}.layers.{number}", width if number else inputs
                if stage > 1:
                    yield from layer(f"{name}.conv1", width, reads, 1)
                    yield from layer(f"{name}.conv2", width, 1, 5)
                else:
                    yield from layer(name, width, reads, 3)
                total += width
            yield from layer(f"{prefix}.aggregation_squeeze_conv", outputs // 2, total, 1)
            yield from layer(f"{prefix}.aggregation_excitation_conv", outputs, outputs // 2, 1)
            inputs = outputs


CASES = [(PResNet(depth=depth), dict(official_presnet(depth))) for depth in DEPTHS]
CASES += [(HGNetv2(size=size), dict(official_hgnet(size))) for size in SIZES]


@pytest.mark.parametrize(("spec", "official"), CASES)
@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_every_tensor_finds_its_place(spec, official, norm):
    spec = type(spec)(**(dict(spec) | {"norm": norm}))
    theirs = {f"backbone.{name}": shape for name, shape in official.items()}
    if norm == "frozen":
        theirs = {name: shape for name, shape in theirs.items() if not name.endswith("num_batches_tracked")}
    with torch.device("meta"):
        ours = {f"backbone.{name}": tuple(tensor.shape) for name, tensor in spec.build().state_dict().items()}
    names = backbone_names(theirs)
    assert {names[name]: shape for name, shape in theirs.items()} == ours


def test_other_parts_are_left_to_others():
    assert backbone_names(["encoder.conv1.weight", "backbone.res_layers.0.blocks.0.short.conv.weight"]) == {
        "backbone.res_layers.0.blocks.0.short.conv.weight": "backbone.stages.0.blocks.0.shortcut.project.conv.weight"
    }
