"""What the tests of networks share: a small detector, weights that no symmetry hides behind, targets."""

import torch
from torch import nn

from detkit.backbones.csp import CSPBackbone
from detkit.backbones.presnet import PResNet
from detkit.blocks.aifi import AIFI
from detkit.blocks.c3k import C3k
from detkit.detectors.rtdetr import RTDETR
from detkit.detectors.yolo import YOLO
from detkit.heads.branches import SeparableBranch
from detkit.heads.dense import DenseHead
from detkit.heads.rtdetr import RTDETRHead
from detkit.necks.hybrid import HybridEncoder
from detkit.necks.pan import PAN
from detkit.stages.c2f import C2f
from detkit.stages.c2psa import C2PSA
from detkit.stages.c3k2 import C3k2
from detkit.stages.repc3 import RepC3
from detkit.stages.sppf import SPPF
from detkit.structures import Targets


def small_yolo(**slots) -> YOLO:
    """A YOLO in miniature with every kind of part that the published ones have."""
    backbone = CSPBackbone(
        stem=8, widths=(8, 16, 16, 32), depths=(1, 1, 1, 1), stages=(C2f(), C3k2(), C3k2(unit=C3k(depth=1)), C3k2())
    )
    neck = PAN(widths=(16, 16, 32), depths=(1,) * 4, stages=(C2f(), C2f(), C3k2(), C3k2()))
    head = DenseHead(class_branch=SeparableBranch(), bins=8)
    return YOLO(**({"backbone": backbone, "top": (SPPF(), C2PSA()), "neck": neck, "head": head} | slots))


def small_rtdetr(*, levels=3, intra=AIFI(feedforward=64), head=None, **slots) -> RTDETR:  # noqa: B008
    """An RT-DETR in miniature with every kind of part that the published ones have; ``head`` has fields of its head."""
    neck = HybridEncoder(width=32, depth=1, levels=levels, intra=intra, stage=RepC3(expansion=0.5))
    fields = {"width": 32, "heads": 4, "feedforward": 64, "depth": 3, "queries": 20, "denoising": 10} | (head or {})
    parts = {"backbone": PResNet(depths=(1, 1, 1, 1), width=8), "neck": neck, "head": RTDETRHead(**fields)}
    return RTDETR(**(parts | slots))


@torch.no_grad()
def scrambled(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and running statistic of ``module`` a random value of sensible size; return it."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var") or (name.endswith("norm.weight") and tensor.ndim == 1):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.ndim > 1:
            fan_in = tensor[0].numel()
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * (1.5 / fan_in) ** 0.5)
        elif tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return module


def some_targets(counts=(3, 0), size=64, classes=3, seed=0) -> Targets:
    """Boxes inside an image of ``size`` pixels a side, so many for each image."""
    generator = torch.Generator().manual_seed(seed)
    boxes, labels = [], []
    for count in counts:
        corner = torch.rand(count, 2, generator=generator) * size / 2
        boxes.append(torch.cat((corner, corner + 4 + torch.rand(count, 2, generator=generator) * (size / 2 - 4)), 1))
        labels.append(torch.randint(0, classes, (count,), generator=generator))
    return Targets.pack(boxes, labels)
