"""Each golden name and the expression that builds our module."""

from collections.abc import Callable
from functools import partial

from torch import nn

from detkit.backbones.conv2former import Conv2Former
from detkit.backbones.emo import EMO
from detkit.backbones.repvit import RepViT
from detkit.backbones.rmt import RMT
from detkit.blocks.dramit import DRAMiTBlock
from detkit.blocks.irmb import IRMB, GridAttention, IRMBBlock
from detkit.blocks.mobivari import MobiVari, MobiVariBlock
from detkit.necks.hrami import HRAMiMix
from detkit.nn.norm import ChannelNorm
from detkit.zoo import rtdetr, yolo11, yolov8

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "conv2former_n": lambda: Conv2Former(size="n").build(),
    "dramit_v2_64_shift4": lambda: DRAMiTBlock(64, heads=4, shift=4, mobivari=MobiVari(version=2)),
    "emo_1m": lambda: EMO(size="1m").build(),
    "hrami_v1_64": lambda: HRAMiMix(64, mobivari=MobiVari(version=1)),
    "hrami_v2_64": lambda: HRAMiMix(64, mobivari=MobiVari(version=2)),
    "irmb_attn_default": lambda: IRMB().build(64),
    "irmb_attn_pre_ln": lambda: IRMBBlock(
        80,
        240,
        GridAttention(80, heads=4, bias=True),
        mixer_first=True,
        kernel_size=5,
        norm=partial(ChannelNorm, eps=1e-6),
        activation=nn.GELU,
        bias=True,
    ),
    "irmb_stem_se": lambda: IRMBBlock(24, None, norm=None, activation=nn.SiLU, excite=True, shortcut=False),
    "mobivari1_64_64": lambda: MobiVariBlock(64, version=1),
    "mobivari2_148_64": lambda: MobiVariBlock(148, 64, version=2),
    "repvit_m0_9": lambda: RepViT(size="m0_9").build(),
    "rmt_t": lambda: RMT(size="t").build(),
    "yolo11n": lambda: yolo11("n").build(num_classes=80),
    "rtdetr_r18vd_6x_coco": lambda: rtdetr("r18").build(num_classes=80),
    "yolov8n": lambda: yolov8("n").build(num_classes=80),
}
