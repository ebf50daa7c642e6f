"""Training on a GPU, as tools/train.py has it: images a second, memory, utilisation, and what costs most; compile off and on.

    python benchmarks/gpu.py [--models yolo11n yolo11m rtdetr_r50] [--compile off on] [--batch 16] [--steps 50] [--device cuda]

Every step is the run's own: Lightning, precision, clipping, averages. Batches come from the loader (drawn JPEGs of 640x480,
the recipe's augmentation), or the first of them comes again and again: what the GPU could do if loading took no time. The
first steps, with what is compiled in them, do not count. `--device cpu` only shows that it works.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import repeat
from pathlib import Path
from statistics import mean
from threading import Event, Thread
from time import perf_counter
from typing import NamedTuple

import cv2
import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from detkit.data.layout import Splits, open_data
from detkit.data.spec import Data
from detkit.experiment import Experiment
from detkit.recipes import detr_recipe, yolo_recipe
from detkit.structures import Batch
from detkit.train.checkpoints import SafeCheckpointIO
from detkit.train.history import History
from detkit.train.loaders import Loaders
from detkit.train.module import DetectorModule
from detkit.train.optimization import derive
from detkit.train.trainer import METRICS, make_trainer, quiet
from detkit.zoo import rtdetr, yolo11

MODELS = {
    "yolo11n": (lambda: yolo11("n"), yolo_recipe, "letterbox"),
    "yolo11m": (lambda: yolo11("m"), yolo_recipe, "letterbox"),
    "rtdetr_r50": (lambda: rtdetr("r50"), detr_recipe, "stretch"),
}
"""Model, recipe and the way to bring images to the input's size."""
HEIGHT, WIDTH, CLASSES, BOXES = 480, 640, 80, 7
"""Of the drawn images; boxes are those of each."""
TRACED, SHOWN = 3, 3
"""Steps under the profiler, after those that count; costs that are printed."""
EVERY = 0.1
"""Seconds between two looks at the GPU's utilisation."""


class OneBatch(Loaders):
    """The first batch of the loader, again and again."""

    def train_dataloader(self):
        batch = next(iter(self.train_loader))
        self.train_loader.close()
        return Again(batch, len(self.train_loader))


class Again:
    """A batch so many times; a list would be one of loaders to Lightning."""

    def __init__(self, batch: Batch, count: int) -> None:
        self.batch, self.count = batch, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Batch]:
        return repeat(self.batch, self.count)


class Found(NamedTuple):
    """Of some training steps: images a second, most memory in bytes, share of time that the GPU worked in, costs in words."""

    speed: float
    memory: int | None
    utilisation: float | None
    costs: list[str]


class Meter(Callback):
    """Measures ``steps`` steps after the first ``warmup``, and traces some more."""

    def __init__(self, warmup: int, steps: int) -> None:
        self.first, self.last, self.found = warmup, warmup + steps, None

    def on_train_batch_end(self, trainer: Trainer, pl_module, outputs, batch, batch_idx: int) -> None:
        done, device = batch_idx + 1, pl_module.device
        if done in (self.first, self.last, self.last + TRACED):
            synchronize(device)
        if done == self.first:
            self.watch = Watch(device)
            self.started = perf_counter()
        elif done == self.last:
            seconds = perf_counter() - self.started
            memory = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None
            speed = (self.last - self.first) * len(batch.images) / seconds
            self.found = Found(speed, memory, self.watch.end(), [])
            self.trace = profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * (device.type == "cuda")])
            self.trace.start()
        elif done == self.last + TRACED:
            self.trace.stop()
            self.found.costs.extend(largest_costs(self.trace, device))


class Watch:
    """Looks at a GPU's utilisation until it is ended."""

    def __init__(self, device: torch.device) -> None:
        self.seen, self.over = [], Event()
        self.thread = Thread(target=self.look, args=(device,), daemon=True)
        if device.type == "cuda":
            self.thread.start()

    def look(self, device: torch.device) -> None:
        while not self.over.wait(EVERY):
            self.seen.append(utilisation(device))

    def end(self) -> float | None:
        """Return the mean share in [0, 1]; None where there is no GPU, or nothing was seen."""
        self.over.set()
        if self.thread.is_alive():
            self.thread.join()
        return mean(self.seen) / 100 if self.seen else None


def utilisation(device: torch.device) -> int:
    """Return in percent how much of the latest moments a GPU has worked."""
    if find_spec("pynvml"):  # of the package nvidia-ml-py
        return torch.cuda.utilization(device)
    number = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", number]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def largest_costs(trace: profile, device: torch.device) -> list[str]:
    """Return the operations that took the device longest, with their shares."""
    field = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    rows = [
        row for row in trace.key_averages() if row.device_type == DeviceType.CPU
    ]  # operations, which know their kernels' time
    rows = [row for row in rows if "#" not in row.key]  # nor what merely surrounds them: Optimizer.step#AdamW.step
    total = sum(getattr(row, field) for row in rows)
    largest = sorted(rows, key=lambda row: getattr(row, field), reverse=True)[:SHOWN]
    return [f"{row.key} {getattr(row, field) / total:.0%}" for row in largest]


def write_images(root: Path, images: int) -> None:
    """Write a COCO folder of blurred noise; validation is one image."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for split, count in (("train", images), ("val", 1)):
        entries = [{"id": i, "file_name": f"{split}{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in range(count)]
        for entry in entries:
            noise = rng.integers(0, 256, (HEIGHT // 8, WIDTH // 8, 3), dtype=np.uint8)
            cv2.imwrite(str(root / "images" / entry["file_name"]), cv2.resize(noise, (WIDTH, HEIGHT)))
        corners = rng.uniform(0, 0.5, (count * BOXES, 2)) * (WIDTH, HEIGHT)
        sides = rng.uniform(0.05, 0.5, (count * BOXES, 2)) * (WIDTH, HEIGHT)
        annotations = [
            {"id": i, "image_id": i % count, "category_id": i % CLASSES, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, box in enumerate(np.hstack([corners, sides]).tolist())
        ]
        content = {"images": entries, "annotations": annotations}
        content["categories"] = [{"id": i, "name": f"class {i}"} for i in range(CLASSES)]
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


def train(experiment: Experiment, splits: Splits, source: Callable[..., Loaders], meter: Meter, folder: Path) -> Found:
    """Train as `detkit.train.fit` does, but for weights: those of a new detector, frozen norms too."""
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    detector = experiment.model.build(len(splits.names)).to(memory_format=torch.channels_last)
    recipe = derive(experiment.recipe, len(splits.train), len(splits.names), 1)
    module = DetectorModule(detector, experiment.model_copy(update={"recipe": recipe}), splits.names)
    with quiet():
        trainer = make_trainer(experiment, folder, History(folder / METRICS), False, SafeCheckpointIO(), ranked=False)
        trainer.precision_plugin.convert_module(module)
        trainer.callbacks.append(meter)
        trainer.fit(module, datamodule=source(experiment, splits.val, splits.train))
    return meter.found


def experiment_of(name: str, compiles: bool, root: Path, options: argparse.Namespace) -> Experiment:
    model, recipe, resize = MODELS[name]
    trainer = {"accelerator": options.device, "devices": 1, "precision": options.precision, "limit_val_batches": 0}
    return Experiment(
        model=model(),
        data=Data(root=str(root), size=options.size, resize=resize, workers=options.workers),
        recipe=recipe(epochs=1, batch=options.batch, nominal_batch=None),
        compile=compiles,
        trainer=trainer,
        logger="csv",
        plots=False,
    )


def row(name: str, compiles: bool, root: Path, options: argparse.Namespace) -> tuple[str, str]:
    """Return a row of the table, and the sentence on costs."""
    experiment = experiment_of(name, compiles, root, options)
    splits = open_data(experiment.data)
    found = []
    for source in (OneBatch, Loaders):
        with tempfile.TemporaryDirectory() as folder:
            found.append(train(experiment, splits, source, Meter(options.warmup, options.steps), Path(folder)))
    memory, loader = found
    cells = [
        name,
        "on" if compiles else "off",
        f"{memory.speed:.1f}",
        f"{loader.speed:.1f}",
        "-" if loader.utilisation is None else f"{loader.utilisation:.0%}",
        "-" if memory.memory is None else f"{memory.memory / 2**30:.1f} GiB",
    ]
    return f"| {' | '.join(cells)} |", f"{name}, compile {cells[1]}: {', '.join(memory.costs)}"


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--compile", nargs="+", choices=("off", "on"), default=["off", "on"])
    parser.add_argument("--size", type=int, default=640, help="of the input")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=50, help="that count")
    parser.add_argument("--warmup", type=int, default=10, help="steps before, 1 at least")
    parser.add_argument("--workers", type=int, help="processes that load")
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "there is no GPU that torch can use; --device cpu --size 64 --batch 2 --steps 2 shows that this works\n")
    return options


def main(words: list[str] | None = None) -> None:
    options = arguments(words)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "CPU"
    print(
        f"{device}, torch {torch.__version__}, batches of {options.batch} at {options.size}, {options.precision}, channels_last"
    )
    print("\n| model | compile | images/s, one batch | images/s, from the loader | GPU at work, from the loader | memory |")
    print("|---|---|---|---|---|---|", flush=True)
    root, costs = Path(tempfile.mkdtemp()), []
    try:
        write_images(root, (options.warmup + options.steps + TRACED) * options.batch)
        for name in options.models:
            for compiles in options.compile:
                cells, cost = row(name, compiles == "on", root, options)
                print(cells, flush=True)
                costs.append(cost)
    finally:
        shutil.rmtree(root)
    print("\nLargest costs of a step of one batch:\n")
    print("\n".join(f"* {cost}" for cost in costs))


if __name__ == "__main__":
    main()
