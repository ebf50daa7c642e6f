"""A network's buffers, such as the running statistics of batch norm: a copy to go back to, and several processes'."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class Buffers:
    """Keeps the values that the buffers of ``module`` have, or had when `keep` was called last.

    A kernel for each dtype and device, not for each buffer: cheap enough for every training step.
    """

    def __init__(self, module: nn.Module) -> None:
        groups: dict[tuple[torch.dtype, torch.device], list[Tensor]] = defaultdict(list)
        for buffer in module.buffers():
            groups[buffer.dtype, buffer.device].append(buffer)
        self._pairs = [(group, [buffer.clone() for buffer in group]) for group in groups.values()]

    @torch.no_grad()
    def keep(self) -> None:
        """Keep the present values."""
        for live, kept in self._pairs:
            torch._foreach_copy_(kept, live)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the kept values back."""
        for live, kept in self._pairs:
            torch._foreach_copy_(live, kept)


def leave_apart(network: nn.Module | None) -> None:
    """Leave each of several processes its own buffers, where PyTorch would send the first one's to all at every step.

    That takes time for nothing: batch norm trains by its batch, and checkpoints and evaluation take the first process's
    buffers. A module that reads its own in training must sum what it puts there (`detkit.losses.reduce`).
    """
    if isinstance(network, DistributedDataParallel):
        network.broadcast_buffers = False
