"""What a detector costs: parameters and operations by role, counted without computing anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from detkit.nn.weightless import weightless
from detkit.parts import Detector, DetectorSpec
from detkit.profiling.flops import Flops, flops_by_role


class Subject(NamedTuple):
    """What is profiled: a detector under a name, on inputs of a shape (height, width)."""

    name: str
    model: DetectorSpec
    shape: tuple[int, int]


@dataclass(frozen=True)
class Share:
    """What a role has of the whole; shares add up."""

    parameters: int = 0
    flops: Flops = field(default_factory=Flops)

    def __add__(self, other: Share) -> Share:
        return Share(self.parameters + other.parameters, self.flops + other.flops)


@dataclass(frozen=True)
class Cost:
    """What one detector costs on one image.

    Attributes:
        name: of the detector.
        shape: input (height, width).
        trainable: parameters that training changes.
        roles: what each module (``backbone.stages.2``) has itself, without its children; parameters as built, operations of
            the deployed form.
        seconds: of each measured forward pass; none where none was measured.
        memory: largest number of bytes held during a forward pass, weights included; None where it was not measured.
    """

    name: str
    shape: tuple[int, int]
    trainable: int
    roles: Mapping[str, Share]
    seconds: tuple[float, ...] = ()
    memory: int | None = None

    @property
    def whole(self) -> Share:
        """The sum over all roles."""
        return sum(self.roles.values(), Share())

    def percentile(self, percent: int) -> float | None:
        """Return the seconds that so many percent of the forward passes stayed within."""
        if not self.seconds:
            return None
        return float(torch.tensor(self.seconds, dtype=torch.float64).quantile(percent / 100))


def count(subject: Subject, num_classes: int) -> Cost:
    """Return the parameters of a detector as it is built, and the operations of its deployed (fused) form.

    Everything happens on the meta device, unless a part reads tensors as it is built.
    """
    name, model, shape = subject
    detector = weightless(model, num_classes)
    deployed = detector.fuse()
    names = {name for name, _ in deployed.named_modules()}
    common = [name for name, _ in detector.named_modules() if name in names]
    own: defaultdict[str, Share] = defaultdict(Share)
    for parameter, values in detector.named_parameters():
        own[_home(parameter, common)] += Share(parameters=values.numel())
    for role, flops in flops_by_role(deployed, _image(detector, shape)).items():
        own[_home(role, common)] += Share(flops=flops)
    trainable = sum(values.numel() for values in detector.parameters() if values.requires_grad)
    return Cost(name, shape, trainable, {role: own[role] for role in common if role in own})


def products(model: DetectorSpec, num_classes: int, shape: tuple[int, int]) -> dict[str, int]:
    """Return the FLOPs (products alone) of each module of a detector as it is trained, by name, on one image.

    Nothing is computed, unless a part reads tensors as it is built or as it runs.
    """
    detector = weightless(model, num_classes)
    try:
        roles = flops_by_role(detector.eval(), _image(detector, shape))
    except (RuntimeError, NotImplementedError):  # a part that reads a tensor, as in x.mean().item()
        with torch.random.fork_rng(devices=()):
            detector = model.build(num_classes).eval()
            roles = flops_by_role(detector, _image(detector, shape))
    return {role: flops.products for role, flops in roles.items() if flops.products}


def _image(detector: Detector, shape: tuple[int, int]) -> Tensor:
    """Return a black image of a shape where the detector is."""
    return torch.zeros(1, 3, *shape, dtype=torch.uint8, device=next(detector.parameters()).device)


def _home(name: str, roles: Collection[str]) -> str:
    """Return the innermost of ``roles`` that ``name`` belongs to: fusing renames what is inside of what it merges."""
    while name not in roles:
        name = name.rpartition(".")[0]
    return name


class Branch(NamedTuple):
    """One line of the tree: a role with all below it, or what it does itself beside its children."""

    role: str
    share: Share
    itself: bool = False


def tree(cost: Cost, depth: int) -> list[Branch]:
    """Return the roles down to ``depth`` dots deep with what all below them costs; the lines below each role add up to it."""
    return [Branch("", cost.whole), *_below(cost.roles, "", depth)]


def _below(roles: Mapping[str, Share], role: str, depth: int) -> Iterator[Branch]:
    """Yield the lines below ``role``."""
    prefix = f"{role}." if role else ""
    children = dict.fromkeys(prefix + name[len(prefix) :].split(".")[0] for name in roles if name and name.startswith(prefix))
    if not children or depth == 0:
        return
    for child in children:
        share = sum((value for name, value in roles.items() if name == child or name.startswith(f"{child}.")), Share())
        yield Branch(child, share)
        yield from _below(roles, child, depth - 1)
    if role in roles:
        yield Branch(role, roles[role], itself=True)
