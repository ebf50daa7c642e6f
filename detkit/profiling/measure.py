"""Time and memory of deployed detectors on the device at hand."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from tqdm import tqdm

from detkit.profiling.costs import Cost, Subject

WARM_UP = 3
"""Rounds that are not measured."""


@dataclass(frozen=True)
class Deployed:
    """A detector as the predictor has it: fused, channels_last, on its device, with an image to look at."""

    detector: nn.Module
    images: Tensor

    @classmethod
    def of(cls, subject: Subject, num_classes: int, device: torch.device) -> Deployed:
        """Build the detector with initial weights, which time and memory don't depend on, and run it once."""
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(0)
            detector = subject.model.build(num_classes).fuse()
            images = torch.randint(256, (1, 3, *subject.shape), dtype=torch.uint8)
        last = torch.channels_last
        deployed = cls(detector.to(device).to(memory_format=last), images.to(device).contiguous(memory_format=last))
        deployed()
        return deployed

    @torch.inference_mode()
    def __call__(self) -> None:
        """Run a forward pass to its end: features, head, decoding."""
        self.detector(self.images)
        if self.images.is_cuda:
            torch.cuda.synchronize(self.images.device)

    def memory(self) -> int:
        """Return the largest number of bytes held during a forward pass: weights, image and all maps alive at a time.

        What kernels need for themselves counts on a GPU alone.
        """
        state = {item.untyped_storage().data_ptr(): item for item in (*self.detector.parameters(), *self.detector.buffers())}
        held = sum(item.untyped_storage().nbytes() for item in (*state.values(), self.images))
        if self.images.is_cuda:
            device = self.images.device
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            self()
            return held + torch.cuda.max_memory_allocated(device) - before
        with torch.no_grad(), _Live() as live:
            self.detector(self.images)
        return held + live.peak


def measure(costs: Sequence[Cost], deployed: Sequence[Deployed], repeats: int) -> list[Cost]:
    """Return the costs with time and memory; detectors take turns, so that the noise of the machine hits all alike."""
    times = in_turn(deployed, repeats)
    return [
        replace(cost, seconds=tuple(seconds), memory=item.memory())
        for cost, item, seconds in zip(costs, deployed, times, strict=True)
    ]


def in_turn(runs: Sequence[Callable[[], object]], repeats: int) -> list[list[float]]:
    """Return the seconds of ``repeats`` calls of each function, called one after the other in rounds, after some to warm up."""
    times: list[list[float]] = [[] for _ in runs]
    for index in tqdm(range(WARM_UP + repeats), desc="measuring", unit="round", delay=2, leave=False, disable=None):
        for run, found in zip(runs, times, strict=True):
            start = time.perf_counter()
            run()
            if index >= WARM_UP:
                found.append(time.perf_counter() - start)
    return times


class _Live(TorchDispatchMode):
    """Follows the storages that operators make, and remembers the most bytes that were alive at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.older: set[StorageWeakRef] = set()
        self.alive: dict[StorageWeakRef, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.older |= {ref for ref in map(StorageWeakRef, _storages((args, kwargs))) if ref not in self.alive}
        out = func(*args, **kwargs)
        for storage in _storages(out):
            ref = StorageWeakRef(storage)
            if ref not in self.older:
                self.alive[ref] = storage.nbytes()
        self.alive = {ref: size for ref, size in self.alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


def _storages(values: Any) -> list[torch.UntypedStorage]:
    """Return the storages of all tensors in ``values``; the CPU's packed weights have none that can be asked for."""
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor) and leaf.layout is torch.strided]


def machine(device: torch.device) -> str:
    """Return what figures of time depend on: the device, its threads where it is a CPU, PyTorch's version."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        name = f"{_processor()}, {threads} thread{'s' if threads > 1 else ''}" if device.type == "cpu" else str(device)
    return f"{name}, torch {torch.__version__}"


def _processor() -> str:
    """Return the name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
