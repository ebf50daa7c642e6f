"""Profiling several detectors beside one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from tqdm import tqdm

from detkit.errors import UserError
from detkit.profiling.costs import Cost, Subject, count
from detkit.profiling.measure import Deployed, measure

T = TypeVar("T")


class Profile(NamedTuple):
    """Costs in the order of the subjects, and of those that could not be built or run, why not."""

    costs: list[Cost]
    refused: dict[str, str]


def profile(
    subjects: Sequence[Subject],
    num_classes: int,
    device: torch.device | None = None,
    repeats: int = 30,
    tolerant: bool = False,
) -> Profile:
    """Count what detectors cost, and measure it.

    Args:
        subjects: what to profile, under different names.
        num_classes: of every detector.
        device: to measure time and memory on; None only counts.
        repeats: forward passes measured for each.
        tolerant: note subjects that fail and go on with the others; else the first failure is raised.
    """
    refused: dict[str, str] | None = {} if tolerant else None
    counted = _each(subjects, partial(count, num_classes=num_classes), "counting", refused)
    if device is not None:
        built = [subject for subject in subjects if subject.name in counted]
        deployed = _each(built, partial(Deployed.of, num_classes=num_classes, device=device), "building", refused)
        measured = measure([counted[name] for name in deployed], list(deployed.values()), repeats)
        return Profile(measured, refused or {})
    return Profile(list(counted.values()), refused or {})


def _each(subjects: Sequence[Subject], step: Callable[[Subject], T], what: str, refused: dict[str, str] | None) -> dict[str, T]:
    """Return what ``step`` makes of each subject by name; failures are noted in ``refused`` where it is given."""
    done = {}
    for subject in tqdm(subjects, what, unit="detector", delay=2, leave=False, disable=None):
        try:
            done[subject.name] = step(subject)
        except Exception as error:  # a part that doesn't fit may raise anything
            if refused is None:
                raise
            refused[subject.name] = sentence(error)
    return done


def sentence(error: Exception) -> str:
    """Return the first line of what an error says."""
    first = (str(error).strip().splitlines() or [""])[0]
    return first if isinstance(error, UserError | ValueError) else f"{type(error).__name__}: {first}"
