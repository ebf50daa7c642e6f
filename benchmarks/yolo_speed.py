"""YOLO11n beside torchvision's ResNet-18, in turn, in one process: evaluation at 640, training step at 320, share of the loss.

    OMP_NUM_THREADS=2 python benchmarks/yolo_speed.py [rounds]

detkit's is channels_last, and fused for evaluation, as its trainer and its predictor have it; torchvision's is contiguous
(NCHW), as its documentation has it. Both train with detkit's AdamW, which is PyTorch's fused one, and clipped gradients.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch.nn import functional as F
from torchvision.models import resnet18

from detkit.recipes import AdamW
from detkit.structures import Targets
from detkit.zoo import yolo11

BATCH, TRAIN_SIZE, EVAL_SIZE, CLASSES, BOXES = 8, 320, 640, 80, 7


def scene() -> tuple[torch.Tensor, Targets]:
    """Random images with boxes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(BATCH, 3, TRAIN_SIZE, TRAIN_SIZE, generator=generator)
    boxes, labels = [], []
    for _ in range(BATCH):
        corner = torch.rand(BOXES, 2, generator=generator) * TRAIN_SIZE / 2
        extent = torch.rand(BOXES, 2, generator=generator) * TRAIN_SIZE / 2
        boxes.append(torch.cat((corner, corner + extent), 1))
        labels.append(torch.randint(CLASSES, (BOXES,), generator=generator))
    return images.contiguous(memory_format=torch.channels_last), Targets.pack(boxes, labels)


def evaluations():
    """Return, by name and batch, functions that evaluate."""
    torch.manual_seed(0)
    ours = yolo11("n").build(num_classes=CLASSES).to(memory_format=torch.channels_last).fuse()
    other = resnet18().eval()
    steps = {}
    for batch in (1, BATCH):
        images = torch.rand(batch, 3, EVAL_SIZE, EVAL_SIZE)
        steps["detkit", batch] = (ours, images.contiguous(memory_format=torch.channels_last))
        steps["resnet18", batch] = (other, images)
    return steps


def train_ours():
    """Return functions without arguments: a training step, and one that returns the seconds of its loss, both ways."""
    torch.manual_seed(0)
    images, targets = scene()
    model = yolo11("n").build(num_classes=CLASSES).to(memory_format=torch.channels_last).train()

    def criterion():
        with torch.no_grad():
            raw = model.raw(model.features(images), targets)
        raw = raw._replace(distances=raw.distances.requires_grad_(), scores=raw.scores.requires_grad_())
        start = time.perf_counter()
        sum(model.loss(raw, targets).values()).backward()
        return time.perf_counter() - start

    return training_step(model, lambda: sum(model(images, targets).values())), criterion


def train_other():
    """Return a training step of ResNet-18."""
    torch.manual_seed(0)
    images, labels = torch.rand(BATCH, 3, TRAIN_SIZE, TRAIN_SIZE), torch.randint(1000, (BATCH,))
    model = resnet18().train()
    return training_step(model, lambda: F.cross_entropy(model(images), labels))


def training_step(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """Return a training step of a model on its ``loss``."""
    parameters = list(model.parameters())
    optimizer = AdamW(lr=1e-5).build([{"params": parameters}])

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimizer.step()

    return step


def seconds(step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def turns(ours, other, rounds: int) -> tuple[float, float, float]:
    """Run both in turn; return their medians and the median of the rounds' ratios.

    The first call of each turn does not count: the other network has taken the caches.
    """
    rows = []
    for _ in range(rounds + 1):
        rows.append([median([seconds(step) for _ in range(4)][1:]) for step in (ours, other)])
    mine, theirs = zip(*rows[1:], strict=True)
    return median(mine), median(theirs), median(one / two for one, two in rows[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=9)
    rounds = parser.parse_args().rounds
    steps = evaluations()
    print(f"{'':28} detkit ms  resnet18 ms   ratio")
    with torch.inference_mode():
        for batch in (1, BATCH):
            calls = [(lambda step=steps[name, batch]: step[0](step[1])) for name in ("detkit", "resnet18")]
            mine, theirs, ratio = turns(*calls, rounds)
            print(f"evaluation, 640, batch {batch}     {mine * 1000:9.1f}  {theirs * 1000:11.1f}  {ratio:6.3f}")
    step, criterion = train_ours()
    mine, theirs, ratio = turns(step, train_other(), rounds)
    print(f"training step, 320, batch {BATCH}  {mine * 1000:9.1f}  {theirs * 1000:11.1f}  {ratio:6.3f}")
    share = median([criterion() for _ in range(rounds + 1)][1:]) / mine
    print(f"loss and assignment, forward and backward: {share:.1%} of detkit's training step")


if __name__ == "__main__":
    main()
