"""Cases about evaluation that must not depend on what else happens: other images, other runs, other instances."""

from __future__ import annotations

import copy
import pickle
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detkit.checks.case import Broken
from detkit.checks.subject import MapSubject, near, tensors

SAME = 1e-5
"""How far equal computations in another order may be apart, as a share of the largest value."""


def treats_images_apart(subject: MapSubject) -> None:
    """In evaluation an image's output doesn't depend on the rest of the batch."""
    module, maps = subject.scrambled(), subject.maps(3)
    together, alone = subject.evaluate(module, maps), subject.evaluate(module, [x[1:2] for x in maps])
    ours = []
    for many, one in zip(together, alone, strict=True):
        batch = [d for d, (a, b) in enumerate(zip(many.shape, one.shape, strict=True)) if a != b]
        ours.append(many.narrow(batch[0], 1, 1) if batch else many)
    advice = "reduce over channels and positions, never over dimension 0"
    near(ours, alone, SAME, "an image alone and in a batch of three", advice)


def repeats_itself(subject: MapSubject) -> None:
    """Evaluation gives the same values twice."""
    module, maps = subject.scrambled(), subject.maps(2)
    first = subject.evaluate(module, maps)
    advice = "draw nothing in evaluation (ask self.training), and keep nothing from one call that changes the next"
    near(subject.evaluate(module, maps), first, 0, "evaluated twice", advice)
    subject.evaluate(module, subject.maps(1, subject.larger, seed=2))
    near(subject.evaluate(module, maps), first, 0, "evaluated again after another input", advice)


def leaves_random_states_alone(subject: MapSubject) -> None:
    """Evaluation draws no random number, whatever the source."""
    module, maps = subject.scrambled(), subject.maps(2)
    before = _random_states()
    subject.evaluate(module, maps)
    for source, state in _random_states().items():
        if state != before[source]:
            raise Broken(f"evaluation draws from {source}'s random state", "draw in training alone: if self.training")


def _random_states() -> dict[str, bytes]:
    states = {"torch": torch.get_rng_state().numpy(), "numpy": np.random.get_state(), "random": random.getstate()}
    return {source: pickle.dumps(state) for source, state in states.items()}


def leaves_its_input_alone(subject: MapSubject) -> None:
    """The maps that it is given are not overwritten; others read them too."""
    module, maps = subject.scrambled(), subject.maps(2)
    given = [x.clone() for x in maps]
    with torch.no_grad():
        module.eval()(*subject.arguments(module, maps))
    for x, before in zip(maps, given, strict=True):
        if not torch.equal(x, before):
            raise Broken(
                "it overwrites its input", "leave out inplace=True on what reads the input, and write x = x + y for x += y"
            )


def builds_alike_from_a_seed(subject: MapSubject) -> None:
    """The same torch seed gives the same initial weights."""
    first, second = subject.built(seed=3).state_dict(), subject.built(seed=3).state_dict()
    for name, value in first.items():
        if name not in second or not torch.equal(second[name], value):
            raise Broken(f"built twice from one seed, '{name}' differs", "draw initial weights from torch's random state alone")


def keeps_instances_apart(subject: MapSubject) -> None:
    """Two instances share no weights, and no state in their classes or modules."""
    first, second = subject.scrambled(1), subject.scrambled(2)
    shared = {x.data_ptr() for x in first.state_dict().values() if x.numel()} & {
        x.data_ptr() for x in second.state_dict().values() if x.numel()
    }
    if shared:
        raise Broken(
            "two instances share a tensor", "create parameters and buffers in __init__, not in the class or its defaults"
        )
    maps, others = subject.maps(2), subject.maps(1, seed=5)
    before = dict(_class_state(first))
    expected = subject.evaluate(second, maps)
    subject.evaluate(first, maps)
    subject.learn(first, others)
    for name, value in _class_state(first):
        if before.get(name) != value or "holds tensors" in value:
            raise Broken(
                f"running it changes {name}, which all instances share",
                "keep state in the instance; tables that follow from sizes in a detkit.nn.cached.Cached of its own",
            )
    near(
        subject.evaluate(second, maps), expected, 0, "one instance after another was trained", "share nothing between instances"
    )


def _class_state(module: nn.Module) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield the name of each container and tensor in the classes and files of ``module``'s parts, and what would change."""
    classes = {cls for part in module.modules() for cls in type(part).__mro__ if cls.__module__.split(".")[0] != "torch"}
    homes = {cls.__module__: sys.modules.get(cls.__module__) for cls in classes}
    owners: list[tuple[str, Any]] = [(cls.__name__, cls) for cls in classes]
    owners += [(name, home) for name, home in homes.items() if home is not None]
    for owner, holder in owners:
        for name, value in vars(holder).items():
            if isinstance(value, dict | list | set) and not name.startswith("__"):
                kept = ("holds tensors",) if tensors(list(value.values() if isinstance(value, dict) else value)) else ()
                yield f"{owner}.{name}", (id(value), len(value), *kept)
            elif isinstance(value, Tensor):
                yield f"{owner}.{name}", (id(value), value._version)


def copies_are_equal_and_apart(subject: MapSubject) -> None:
    """``copy.deepcopy`` gives an equal network that shares nothing."""
    module, maps = subject.scrambled(), subject.maps(2)
    expected = subject.evaluate(module, maps)
    twin = copy.deepcopy(module)
    advice = "keep what it needs in parameters, buffers and plain attributes; a lambda that holds self reads the original"
    near(subject.evaluate(twin, maps), expected, 0, "a deep copy", advice)
    other = subject.scrambled(1)
    twin.load_state_dict(other.state_dict())
    near(subject.evaluate(twin, maps), subject.evaluate(other, maps), 0, "a copy given new weights", advice)
    near(subject.evaluate(module, maps), expected, 0, "the original after its copy was given new weights", advice)
