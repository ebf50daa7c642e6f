"""Names and shapes of the authors' classifiers of every size, spelled out from the facts and not from detkit's tables."""

from collections.abc import Iterator
from itertools import pairwise

Entries = Iterator[tuple[str, tuple[int, ...]]]
CLASSES = 1000


def pair(name: str, *weight: int) -> Entries:
    """A weight and its bias."""
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def norm(name: str, channels: int) -> Entries:
    """A batch norm."""
    yield from pair(name, channels)
    yield from ((f"{name}.{kind}", (channels,)) for kind in ("running_mean", "running_var"))
    yield f"{name}.num_batches_tracked", ()


def conv_bn(name: str, *weight: int) -> Entries:
    """RepViT's convolution and batch norm."""
    yield f"{name}.c.weight", weight
    yield from norm(f"{name}.bn", weight[0])


# --- RMT: widths, depths, heads, ratio, first stage with layer scale; parameters of the whole classifier -------------

RMT = {
    "t": ((64, 128, 256, 512), (2, 2, 8, 2), (4, 4, 8, 16), (3, 3, 3, 3), 4, 14_334_216),
    "s": ((64, 128, 256, 512), (3, 4, 18, 4), (4, 4, 8, 16), (4, 4, 3, 3), 4, 26_967_240),
    "b": ((80, 160, 320, 512), (4, 8, 25, 8), (5, 5, 10, 16), (4, 4, 3, 3), 2, 54_154_896),
    "l": ((112, 224, 448, 640), (4, 8, 25, 8), (7, 7, 14, 20), (4, 4, 3, 3), 2, 95_464_864),
}


def rmt(size: str) -> Entries:
    widths, depths, heads, ratios, scaled, _ = RMT[size]
    half = widths[0] // 2
    for index, (inputs, outputs) in enumerate(pairwise((3, half, half, widths[0], widths[0]))):
        yield from pair(f"patch_embed.proj.{3 * index}", outputs, inputs, 3, 3)
        yield from norm(f"patch_embed.proj.{3 * index + 1}", outputs)
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        yield f"layers.{stage}.Relpos.angle", (width // heads[stage],)
        yield f"layers.{stage}.Relpos.decay", (heads[stage],)
        for block in range(depth):
            yield from rmt_block(f"layers.{stage}.blocks.{block}", width, width * ratios[stage], stage >= scaled)
        if stage < 3:
            yield from pair(f"layers.{stage}.downsample.reduction", widths[stage + 1], width, 3, 3)
            yield from norm(f"layers.{stage}.downsample.norm", widths[stage + 1])
    yield from pair("proj", 1024, widths[3])
    yield from norm("norm", 1024)
    yield from pair("head", CLASSES, 1024)


def rmt_block(name: str, width: int, hidden: int, scaled: bool) -> Entries:
    for kind in ("retention_layer_norm", "final_layer_norm"):
        yield from pair(f"{name}.{kind}", width)
    for kind in ("q_proj", "k_proj", "v_proj", "out_proj"):
        yield from pair(f"{name}.retention.{kind}", width, width)
    yield from pair(f"{name}.retention.lepe.conv", width, 1, 5, 5)
    yield from pair(f"{name}.ffn.fc1", hidden, width)
    yield from pair(f"{name}.ffn.fc2", width, hidden)
    yield from pair(f"{name}.ffn.dwconv.conv", hidden, 1, 3, 3)
    yield from pair(f"{name}.pos.conv", width, 1, 3, 3)
    if scaled:
        yield from ((f"{name}.gamma_{number}", (1, 1, 1, width)) for number in (1, 2))


# --- RepViT: width of the first stage, blocks of the stages with squeeze-and-excitation in turns ---------------------

REPVIT = {
    "m0_6": (40, (1, 1, 8, 1), 2_487_292),
    "m0_9": (48, (2, 2, 14, 2), 5_103_560),
    "m1_0": (56, (2, 2, 14, 2), 6_852_900),
    "m1_1": (64, (2, 2, 12, 2), 8_288_888),
    "m1_5": (64, (4, 4, 24, 4), 14_130_408),
    "m2_3": (80, (6, 6, 34, 2), 23_046_512),
}
SQUEEZED = {40: 8, 48: 16, 56: 16, 64: 16, 80: 24, 96: 24, 112: 32, 128: 32, 160: 40, 192: 48, 224: 56, 256: 64, 320: 80}
SQUEEZED |= {384: 96, 448: 112, 512: 128, 640: 160}


def repvit(size: str) -> Entries:
    width, depths, _ = REPVIT[size]
    yield from conv_bn("features.0.0", width // 2, 3, 3, 3)
    yield from conv_bn("features.0.2", width, width // 2, 3, 3)
    number = 1
    for stage, depth in enumerate(depths):
        channels = width << stage
        for block in range(depth + (stage < 3)):  # one more stands before each downsampling
            yield from repvit_block(f"features.{number}", channels, excite=block % 2 == 0 and block < depth)
            number += 1
        if stage < 3:
            name, number = f"features.{number}", number + 1
            yield from conv_bn(f"{name}.token_mixer.0", channels, 1, 3, 3)
            yield from conv_bn(f"{name}.token_mixer.2", 2 * channels, channels, 1, 1)
            yield from channel_mixer(name, 2 * channels)
    yield from norm("classifier.classifier.bn", 8 * width)
    yield from pair("classifier.classifier.l", CLASSES, 8 * width)


def repvit_block(name: str, channels: int, excite: bool) -> Entries:
    yield from conv_bn(f"{name}.token_mixer.0.conv", channels, 1, 3, 3)
    yield from pair(f"{name}.token_mixer.0.conv1", channels, 1, 1, 1)
    yield from norm(f"{name}.token_mixer.0.bn", channels)
    if excite:
        yield from pair(f"{name}.token_mixer.1.fc1", SQUEEZED[channels], channels, 1, 1)
        yield from pair(f"{name}.token_mixer.1.fc2", channels, SQUEEZED[channels], 1, 1)
    yield from channel_mixer(name, channels)


def channel_mixer(name: str, channels: int) -> Entries:
    yield from conv_bn(f"{name}.channel_mixer.m.0", 2 * channels, channels, 1, 1)
    yield from conv_bn(f"{name}.channel_mixer.m.2", channels, 2 * channels, 1, 1)


# --- EMO: depths, widths, expansions ---------------------------------------------------------------------------------

EMO = {
    "1m": ((2, 2, 8, 3), (32, 48, 80, 168), (2, 2.5, 3, 3.5), 1_361_168),
    "2m": ((3, 3, 9, 3), (32, 48, 120, 200), (2, 2.5, 3, 3.5), 2_377_472),
    "5m": ((3, 3, 9, 3), (48, 72, 160, 288), (2, 3, 4, 4), 5_108_848),
    "6m": ((3, 3, 9, 3), (48, 72, 160, 320), (2, 3, 4, 5), 6_168_496),
}


def emo(size: str) -> Entries:
    depths, widths, expansions, _ = EMO[size]
    yield from pair("stage0.0.convs.0.0", 24, 3, 3, 3)
    yield from norm("stage0.0.convs.0.1", 24)
    yield "stage0.1.conv_local.conv.weight", (24, 1, 3, 3)
    yield from norm("stage0.1.conv_local.norm", 24)
    for kind in ("reduce", "expand"):
        yield from pair(f"stage0.1.se.conv_{kind}", 24, 24, 1, 1)
    yield "stage0.1.proj.conv.weight", (24, 24, 1, 1)
    inputs = 24
    for stage, (depth, width, expansion) in enumerate(zip(depths, widths, expansions, strict=True), 1):
        for block in range(depth):
            hidden = int(inputs * expansion * (1 if block else 2))
            yield from emo_block(f"stage{stage}.{block}", inputs, hidden, width, stage > 2, attends=stage > 2 and block > 0)
            inputs = width
    yield from pair("norm.norm", inputs)
    yield from pair("head", CLASSES, inputs)


def emo_block(name: str, inputs: int, hidden: int, outputs: int, wide: bool, attends: bool) -> Entries:
    yield from pair(f"{name}.norm.norm", inputs) if wide else norm(f"{name}.norm", inputs)
    if attends:
        yield from pair(f"{name}.qk.conv", 2 * inputs, inputs, 1, 1)
    yield from pair(f"{name}.v.conv", hidden, inputs, 1, 1)
    yield f"{name}.conv_local.conv.weight", (hidden, 1, 5, 5) if wide else (hidden, 1, 3, 3)
    yield from norm(f"{name}.conv_local.norm", hidden)
    yield f"{name}.proj.conv.weight", (outputs, hidden, 1, 1)


# --- Conv2Former: width of the first stage, depths, kernel -----------------------------------------------------------

CONV2FORMER = {
    "n": (64, (2, 2, 8, 2), 7, 14_992_840),
    "t": (72, (3, 3, 12, 3), 11, 26_697_204),
    "s": (72, (4, 4, 32, 4), 11, 50_032_692),
    "b": (96, (4, 4, 34, 4), 11, 90_029_112),
    "l": (128, (4, 4, 48, 4), 11, 198_893_736),
}


def conv2former(size: str) -> Entries:
    first, depths, kernel, _ = CONV2FORMER[size]
    half = first // 2
    yield "downsample_layers.0.0.weight", (half, 3, 3, 3)
    yield from norm("downsample_layers.0.2", half)
    yield "downsample_layers.0.3.weight", (half, half, 3, 3)
    yield from norm("downsample_layers.0.5", half)
    yield "downsample_layers.0.6.weight", (first, half, 2, 2)
    for stage, depth in enumerate(depths):
        width = first << stage
        if stage:
            yield from pair(f"downsample_layers.{stage}.0", width // 2)
            yield from pair(f"downsample_layers.{stage}.1", width, width // 2, 2, 2)
        for name in (f"stages.{stage}.{block}" for block in range(depth)):
            yield from ((f"{name}.layer_scale_{number}", (width,)) for number in (1, 2))
            for kind in ("attn.norm", "mlp.norm"):
                yield from pair(f"{name}.{kind}", width)
            for kind in ("att.0", "v", "proj"):
                yield from pair(f"{name}.attn.{kind}", width, width, 1, 1)
            yield from pair(f"{name}.attn.att.2", width, 1, kernel, kernel)
            yield from pair(f"{name}.mlp.fc1", 4 * width, width, 1, 1)
            yield from pair(f"{name}.mlp.pos", 4 * width, 1, 3, 3)
            yield from pair(f"{name}.mlp.fc2", width, 4 * width, 1, 1)
    yield from pair("head.0", 1280, 8 * first, 1, 1)
    yield from pair("head.2", 1280)
    yield from pair("pred", CLASSES, 1280)
