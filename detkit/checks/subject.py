"""What cases are run on: a part, built for some facts, and inputs that fit it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from detkit.checks.case import Broken
from detkit.spec import Spec
from detkit.structures import Level

Size = tuple[int, int]


@dataclass(frozen=True)
class Subject:
    """A part with the facts it is built with.

    Attributes:
        spec: the part.
        make: builds it.
    """

    spec: Spec
    make: Callable[[], Any]

    @property
    def name(self) -> str:
        """Return the part's class name."""
        return type(self.spec).__name__

    def built(self, seed: int = 0) -> nn.Module:
        """Return a new module with its initial weights.

        Raises:
            Broken: what ``build`` returns is no module.
        """
        torch.manual_seed(seed)
        module = self.make()
        if not isinstance(module, nn.Module):
            kind = type(module).__name__
            raise Broken(f"build() returns a {kind}, not a torch.nn.Module", "return the module: return MyModule(channels)")
        return module

    def scrambled(self, seed: int = 0) -> nn.Module:
        """Return a new module whose every weight is random, so that no initial zero or one hides anything."""
        return scramble(self.built(), seed)

    def stirred(self) -> nn.Module:
        """Return a module like `scrambled` whose layers have their initial weights, which keep rounding errors small."""
        return scramble(self.built(), layers=False)


@dataclass(frozen=True)
class MapSubject(Subject):
    """A part whose network takes one map or several, and gives maps or other tensors.

    Attributes:
        takes: channels and stride of each map taken.
        arguments: (module, maps) -> the arguments of its forward.
        shapes: (module, batch, size) -> the shape of each map that the contract wants; None where it wants no maps.
        wider: (width) -> the same part for another width; None where widths are its own.
        sizes: heights and widths to run at, in units of stride 1.
        training: the size to train at.
        smooth: a small change of the input changes the output a little; what chooses (top-k) isn't.
        facts: what ``build`` is given, for messages.
    """

    takes: tuple[Level, ...] = ()
    arguments: Callable[[nn.Module, list[Tensor]], tuple[Any, ...]] = lambda module, maps: (maps[0],)
    shapes: Callable[[nn.Module, int, Size], list[tuple[int, ...]]] | None = None
    wider: Callable[[int], MapSubject] | None = None
    sizes: tuple[Size, ...] = ((8, 8), (7, 13), (1, 1), (20, 4))
    training: Size = (8, 8)
    smooth: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def larger(self) -> Size:
        """Return another easy size than the one to train at."""
        height, width = self.training
        return 2 * height, 3 * width

    def maps(self, batch: int, size: Size | None = None, seed: int = 1) -> list[Tensor]:
        """Return random maps of values in [-1, 1], one for each that the part takes."""
        generator = torch.Generator().manual_seed(seed)
        height, width = size or self.training
        shapes = [(batch, level.channels, -(-height // level.stride), -(-width // level.stride)) for level in self.takes]
        return [2 * torch.rand(shape, generator=generator) - 1 for shape in shapes]

    def run(self, module: nn.Module, maps: list[Tensor]) -> list[Tensor]:
        """Return all tensors that the network puts out; it works on copies of ``maps``."""
        return tensors(module(*self.arguments(module, [x.clone() for x in maps])))

    def evaluate(self, module: nn.Module, maps: list[Tensor]) -> list[Tensor]:
        """Return what the network puts out in evaluation."""
        with torch.no_grad():
            return self.run(module.eval(), maps)

    def learn(self, module: nn.Module, maps: list[Tensor]) -> None:
        """Run the network in training and backpropagate the sum of the squares of what it puts out, to ``maps`` too.

        Raises:
            Broken: nothing has a gradient.
        """
        for x in maps:
            x.requires_grad_()
        values = [x for x in self.run(module.train(), maps) if x.requires_grad]
        if not values:
            raise Broken("nothing that it puts out in training has a gradient", "leave out no_grad() and detach()")
        total = values[0].square().sum()
        for x in values[1:]:
            total = total + x.square().sum()
        total.backward()


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors in nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return tensors(list(value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [found for item in value for found in tensors(item)]
    return []


@torch.no_grad()
def scramble(module: nn.Module, seed: int = 0, *, layers: bool = True) -> nn.Module:
    """Give every parameter and running statistic of ``module`` a random value of sensible size; return it.

    Weights of layers are drawn anew, to keep the size of what passes them; other parameters move a little from their initial
    values, which may have to be positive.

    Args:
        module: changed in place.
        seed: of the values.
        layers: draw the weights of layers anew, too.
    """
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        if parameter.ndim > 1 and layers:
            largest = (4.5 / parameter[0].numel()) ** 0.5  # a variance of 1.5 / inputs
            parameter.uniform_(-largest, largest, generator=generator)
        elif parameter.ndim < 2:
            parameter.add_(torch.empty_like(parameter).uniform_(-0.2, 0.2, generator=generator))
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.uniform_(-0.2, 0.2, generator=generator)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5, generator=generator)
    return module


def near(
    found: Sequence[Tensor], expected: Sequence[Tensor], tolerance: float, what: str, advice: str = "", least: float = 1e-6
) -> None:
    """Check that tensors are equal, up to a share of the largest value.

    Args:
        found: by the network in question.
        expected: of each of them.
        tolerance: as a share of the tensor's own largest value.
        what: was done to the network in question, for the message.
        advice: what to write instead.
        least: what a tensor's largest value counts as at least; below, there is nothing but rounding.

    Raises:
        Broken: they aren't, or one is not finite.
    """
    if len(found) != len(expected):
        raise Broken(f"{what}: {len(found)} tensors instead of {len(expected)}", advice)
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            raise Broken(f"{what}: the shape is {tuple(ours.shape)} instead of {tuple(theirs.shape)}", advice)
        if not theirs.numel():
            continue
        a, b = ours.double(), theirs.double()
        largest, difference = b.abs().max().item(), (a - b).abs().max().item()
        if not difference <= tolerance * max(largest, least):
            raise Broken(f"{what}: values differ by {difference:.2g} where the largest is {largest:.2g}", advice)
