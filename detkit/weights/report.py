"""What became of every tensor when weights were loaded, as data and as a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

from detkit.errors import UserError
from detkit.weights.class_rows import KeptRows

COLUMNS = ("loaded", "overlapped", "initial", "reshaped", "unexpected")
SHARES = ("parameters", "FLOPs")
MOST = 3
"""Names or parts that a sentence tells of."""

Shapes = tuple[tuple[int, ...], tuple[int, ...]]
"""Ours, the file's."""


@dataclass(frozen=True)
class Cover:
    """How much of a whole weights were loaded into, counted in parameters (elements) or in FLOPs; covers add up."""

    loaded: int = 0
    whole: int = 0

    def __add__(self, other: Cover) -> Cover:
        return Cover(self.loaded + other.loaded, self.whole + other.whole)

    @property
    def share(self) -> float:
        """From 0 to 1; 1 of nothing."""
        return self.loaded / self.whole if self.whole else 1.0

    def __str__(self) -> str:
        """In percent, rounded down: 100.0% is all."""
        return f"{1000 * self.loaded // self.whole / 10:.1f}%" if self.whole else "-"


@dataclass(frozen=True)
class Part:
    """What became of one part: numbers of its tensors, and what of it was loaded."""

    loaded: int = 0
    overlapped: int = 0
    initial: int = 0
    reshaped: int = 0
    unexpected: int = 0
    parameters: Cover = Cover()
    flops: Cover = Cover()


@dataclass(frozen=True)
class Report:
    """Which tensors were loaded, and which were not and why. Batch norms' counts of batches are none of them.

    Attributes:
        loaded: names, ours, of tensors that were loaded; of those of other classes perhaps only some rows.
        initial: names, ours, of tensors that the file lacks, or has for other classes alone.
        reshaped: names, ours, of tensors of another shape in the file, with (our shape, the file's); left as they were.
        unexpected: names, the file's, that the module has no place for.
        parameters: elements of each of the module's parameters, by name.
        overlapped: as ``reshaped``, of tensors that took what the file's has at the same places; the rest was left as it was.
        products: FLOPs of each of the module's modules on an image, by name, as `with_flops` gave them; none: not counted.
        rows: classes that were matched by name; None where nothing was to be matched.
    """

    loaded: tuple[str, ...]
    initial: tuple[str, ...]
    reshaped: dict[str, Shapes]
    unexpected: tuple[str, ...]
    parameters: dict[str, int]
    overlapped: dict[str, Shapes] = field(default_factory=dict)
    products: dict[str, int] = field(default_factory=dict)
    rows: KeptRows | None = None

    def with_flops(self, products: Mapping[str, int]) -> Report:
        """Return the report with the FLOPs of modules by name, those of the modules that it is about."""
        homes = {name.partition(".")[0] for name in self.parameters}
        return replace(self, products={name: count for name, count in products.items() if name.partition(".")[0] in homes})

    @property
    def share(self) -> float:
        """Share of the module's parameters (elements) that were loaded, 0 to 1; what was overlapped doesn't count."""
        return self._parameters.share

    @property
    def flop_share(self) -> float | None:
        """Share of the FLOPs whose parameters were loaded, 0 to 1; None where FLOPs were not counted."""
        return self._flops.share if self.products else None

    @property
    def _parameters(self) -> Cover:
        return sum((part.parameters for part in self.parts.values()), Cover())

    @property
    def _flops(self) -> Cover:
        return sum((part.flops for part in self.parts.values()), Cover())

    @property
    def found(self) -> tuple[int, int]:
        """Number of the file's tensors that were loaded, and of all that it has (below the role that was asked for)."""
        unused = [name for name, (taken, _) in self.rows.taken.items() if not taken] if self.rows else []
        rest = len(self.overlapped) + len(self.reshaped) + len(self.unexpected) + len(unused)
        return len(self.loaded), len(self.loaded) + rest

    def portion(self, name: str) -> Fraction:
        """Return the share of a parameter that was loaded: all, nothing, or some rows of classes."""
        if name not in self._whole:
            return Fraction(0)
        return Fraction(*self.rows.taken.get(name, (1, 1))) if self.rows else Fraction(1)

    @cached_property
    def _whole(self) -> frozenset[str]:
        return frozenset(self.loaded)

    @cached_property
    def parts(self) -> dict[str, Part]:
        """What became of each part (backbone, neck, after.c5, ...)."""
        counts: dict[str, dict[str, Any]] = {}
        for column in COLUMNS:
            for name in getattr(self, column):
                row = counts.setdefault(part_of(name), {})
                row[column] = row.get(column, 0) + 1
        for name, count in self.parameters.items():
            row = counts.setdefault(part_of(name), {})
            row["parameters"] = row.get("parameters", Cover()) + Cover(int(count * self.portion(name)), count)
        for name, count in self.products.items():
            covered = min(map(self.portion, parameters_of(name, self.parameters)), default=1)
            row = counts.setdefault(part_of(name), {})
            row["flops"] = row.get("flops", Cover()) + Cover(int(count * covered), count)
        return {part: Part(**row) for part, row in counts.items()}

    @property
    def fault(self) -> str | None:
        """Why the weights do not fill the module exactly, in words; None where they do."""
        shapes = (*self.reshaped, *self.overlapped)
        partly = [name for name in self.loaded if self.portion(name) < 1]
        faults = {
            "missing": self.initial,
            "of another shape": shapes,
            "of other classes": partly,
            "unexpected": self.unexpected,
        }
        for fault, names in faults.items():
            if names:
                more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
                return f"{len(names)} tensors are {fault}: {', '.join(names[:MOST])}{more}"
        return None

    def check(self, share: float) -> None:
        """Check that at least such a share of the parameters, and of the FLOPs where they were counted, was loaded.

        Raises:
            UserError: less was; names the largest parts that are missing.
        """
        if min(self.share, 1.0 if self.flop_share is None else self.flop_share) >= share:
            return
        missing = {name: part.parameters.whole - part.parameters.loaded for name, part in self.parts.items()}
        largest = sorted(filter(missing.get, missing), key=lambda name: -missing[name])[:MOST]
        parts = ", ".join(f"{name} ({missing[name]:,} of {self.parts[name].parameters.whole:,})" for name in largest)
        raise UserError(f"{self.summary}, less than {share:.1%}; the largest parts without their parameters: {parts}")

    @property
    def summary(self) -> str:
        """The shares that were loaded, in words."""
        loaded, whole = self.found
        flops = f" and {self._flops} of the FLOPs" if self.products else ""
        rows = f"; {self.rows}" if self.rows else ""
        return f"{self._parameters} of the parameters{flops} loaded, from {loaded} of the file's {whole} tensors{rows}"

    @property
    def data(self) -> dict[str, Any]:
        """All of it but the module's sizes as plain data, for programs."""
        shares = {"parameters": self.share, "flops": self.flop_share}
        tensors = {column: _plain(getattr(self, column)) for column in COLUMNS}
        classes = None if self.rows is None else self.rows.names
        return shares | {"classes": classes, "parts": {name: asdict(part) for name, part in self.parts.items()}} | tensors

    def __str__(self) -> str:
        table = self.parts
        width = max(map(len, [*table, "part"]))
        shares = SHARES if self.products else SHARES[:1]
        lines = [f"{'part':{width}}" + "".join(f"{column:>12}" for column in (*COLUMNS, *shares))]
        for name, part in table.items():
            covers = (part.parameters, part.flops)[: len(shares)]
            words = [f"{getattr(part, column)}" for column in COLUMNS]
            words += map(str, covers)
            lines.append(f"{name:{width}}" + "".join(f"{word:>12}" for word in words))
        return "\n".join([*lines, self.summary])


def part_of(name: str) -> str:
    """Return the part of a detector that a tensor belongs to: its first word, or two where the first holds several."""
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}" if first in ("after", "remix", "top") and rest else first


def parameters_of(module: str, parameters: Collection[str]) -> list[str]:
    """Return the parameters that a module computes with.

    They are its own; where it has none, as what multiplies queries by keys, those of the modules within it; and where these
    have none either, those within the nearest module around it that has some.
    """
    for group in _groups(module, parameters):
        if group:
            return group
    return []


def _groups(module: str, parameters: Collection[str]) -> Iterator[list[str]]:
    """Yield the parameters of a module itself, then those below it, below what is around it, and so on."""
    yield [name for name in parameters if name.rpartition(".")[0] == module]
    while module:
        yield [name for name in parameters if name.startswith(f"{module}.")]
        module = module.rpartition(".")[0]
    yield list(parameters)


def _plain(names: tuple[str, ...] | dict[str, Shapes]) -> list[str] | dict[str, list[list[int]]]:
    return (
        {name: [list(shape) for shape in shapes] for name, shapes in names.items()} if isinstance(names, dict) else list(names)
    )
