"""A copy of a network's buffers, such as the running statistics of batch norm, to go back to."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn


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
