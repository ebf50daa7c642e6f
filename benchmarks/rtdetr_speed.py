"""RT-DETR-R18 beside transformers' RT-DETR-R18, in turn, in one process: evaluation at 640, training step, criterion, memory.

    OMP_NUM_THREADS=2 python benchmarks/rtdetr_speed.py [rounds]

detkit's is channels_last, fused for evaluation, and trained by its recipe's AdamW, as its trainer and its predictor have it;
transformers' is as its documentation has it, contiguous, with PyTorch's default AdamW.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch
from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

from detkit.recipes import AdamW
from detkit.structures import Targets
from detkit.zoo import rtdetr

BATCH, TRAIN_SIZE, EVAL_SIZE, CLASSES, BOXES = 8, 320, 640, 80, 7


def theirs() -> RTDetrForObjectDetection:
    """RT-DETR-R18 as its published configuration says, with trainable norms as here."""
    backbone = RTDetrResNetConfig(
        layer_type="basic",
        depths=[2, 2, 2, 2],
        hidden_sizes=[64, 128, 256, 512],
        embedding_size=64,
        out_features=["stage2", "stage3", "stage4"],
        downsample_in_bottleneck=False,
    )
    return RTDetrForObjectDetection(
        RTDetrConfig(
            backbone_config=backbone,
            use_pretrained_backbone=False,
            use_timm_backbone=False,
            freeze_backbone_batch_norms=False,
            encoder_in_channels=[128, 256, 512],
            hidden_expansion=0.5,
            decoder_layers=3,
            num_labels=CLASSES,
        )
    )


def scene() -> tuple[torch.Tensor, Targets, list[dict[str, torch.Tensor]]]:
    """Random images, and the same boxes in both conventions."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, 3, TRAIN_SIZE, TRAIN_SIZE, generator=generator)
    boxes, labels, normalised = [], [], []
    for _ in range(BATCH):
        corner = torch.rand(BOXES, 2, generator=generator) * TRAIN_SIZE / 2
        extent = torch.rand(BOXES, 2, generator=generator) * TRAIN_SIZE / 2
        boxes.append(torch.cat((corner, corner + extent), 1))
        labels.append(torch.randint(CLASSES, (BOXES,), generator=generator))
        normalised.append({"class_labels": labels[-1], "boxes": torch.cat((corner + extent / 2, extent), 1) / TRAIN_SIZE})
    return images, Targets.pack(boxes, labels), normalised


def steps(name: str):
    """Return functions without arguments: evaluation forward, training step, its loss alone (None for theirs)."""
    torch.manual_seed(0)
    images, targets, labels = scene()
    large = torch.rand(1, 3, EVAL_SIZE, EVAL_SIZE)
    if name == "detkit":
        model = rtdetr("r18").build(num_classes=CLASSES).to(memory_format=torch.channels_last)
        images, large = (x.contiguous(memory_format=torch.channels_last) for x in (images, large))
        fused = model.fuse()

        def loss():
            return sum(model(images, targets).values())
    else:
        model = theirs()
        fused = theirs().eval()

        def loss():
            return model(pixel_values=images, labels=labels).loss

    groups = [{"params": list(model.parameters())}]
    optimizer = AdamW(lr=1e-5).build(groups) if name == "detkit" else torch.optim.AdamW(groups, 1e-5)

    def evaluate():
        with torch.inference_mode():
            fused(large)

    def train():
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    def criterion():
        with torch.no_grad():
            raw = model.raw(model.features(images), targets)
        for part in (raw, raw.proposals, raw.denoised):
            for values in (part.boxes, part.scores):
                values.requires_grad_()
        start = time.perf_counter()
        sum(model.loss(raw, targets).values()).backward()
        return time.perf_counter() - start

    model.train()
    return evaluate, train, criterion if name == "detkit" else None


def seconds(step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak(name: str, kind: str) -> None:
    """Print by how many megabytes the peak of a process is above what it holds once the model is built."""
    evaluate, train, _ = steps(name)
    before = memory("VmRSS")
    for _ in range(3):
        (evaluate if kind == "evaluation" else train)()
    print(memory("VmHWM") - before)


def memory(name: str) -> float:
    """Return a figure of this process in megabytes, as Linux tells it: VmRSS now, VmHWM at its highest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=7)
    parser.add_argument("--peak", nargs=2, metavar=("WHOSE", "KIND"))
    arguments = parser.parse_args()
    if arguments.peak:
        peak(*arguments.peak)
        return
    both = {name: steps(name) for name in ("detkit", "transformers")}
    for index, kind in enumerate(("evaluation", "training step")):
        times = {name: [] for name in both}
        for _ in range(arguments.rounds + 1):
            for name, parts in both.items():
                times[name].append(seconds(parts[index]))
        ours, others = (median(times[name][1:]) for name in both)
        print(f"{kind:14} detkit {ours * 1000:7.1f} ms  transformers {others * 1000:7.1f} ms  ratio {ours / others:.3f}")
        if kind == "training step":
            share = median([both["detkit"][2]() for _ in range(arguments.rounds + 1)][1:]) / ours
            print(f"criterion with matching, forward and backward: {share:.1%} of detkit's training step")
    for kind in ("evaluation", "training"):
        found = {}
        for name in both:
            command = [sys.executable, __file__, "--peak", name, kind]
            found[name] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        ours, others = found["detkit"], found["transformers"]
        print(f"memory, {kind:10} detkit {ours:7.0f} MB  transformers {others:7.0f} MB  ratio {ours / others:.3f}")


if __name__ == "__main__":
    main()
