"""What became of every tensor when weights were loaded."""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS = ("loaded", "initial", "reshaped", "unexpected")


@dataclass(frozen=True)
class Report:
    """Which tensors were loaded, and which were not and why.

    Attributes:
        loaded: names, ours, of tensors that were loaded.
        initial: names, ours, of tensors that the file lacks.
        reshaped: names, ours, of tensors of another shape in the file, with (our shape, the file's); left as they were.
        unexpected: names, the file's, that the module has no place for.
        parameters: elements of each of the module's parameters, by name.
    """

    loaded: tuple[str, ...]
    initial: tuple[str, ...]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    unexpected: tuple[str, ...]
    parameters: dict[str, int]

    @property
    def share(self) -> float:
        """Share of the module's parameters (elements) that were loaded, 0 to 1."""
        found = sum(self.parameters.get(name, 0) for name in self.loaded)
        return found / max(1, sum(self.parameters.values()))

    @property
    def parts(self) -> dict[str, dict[str, int]]:
        """Number of tensors loaded, initial, reshaped and unexpected in each part (backbone, neck, after.c5, ...)."""
        table: dict[str, dict[str, int]] = {}
        for column in COLUMNS:
            for name in getattr(self, column):
                row = table.setdefault(part_of(name), dict.fromkeys(COLUMNS, 0))
                row[column] += 1
        return table

    @property
    def fault(self) -> str | None:
        """Why the weights do not fill the module exactly, in words; None where they do."""
        faults = {"missing": self.initial, "of another shape": tuple(self.reshaped), "unexpected": self.unexpected}
        for fault, names in faults.items():
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                return f"{len(names)} tensors are {fault}: {', '.join(names[:3])}{more}"
        return None

    def __str__(self) -> str:
        table = self.parts
        width = max(map(len, [*table, "part"]))
        lines = [f"{'part':{width}}" + "".join(f"{column:>12}" for column in COLUMNS)]
        lines += [f"{part:{width}}" + "".join(f"{count:>12}" for count in row.values()) for part, row in table.items()]
        return "\n".join([*lines, f"{self.share:.1%} of the parameters loaded"])


def part_of(name: str) -> str:
    """Return the part of a detector that a tensor belongs to: its first word, or two where the first holds several."""
    first, *rest = name.split(".")
    return f"{first}.{rest[0]}" if first in ("after", "remix", "top") and rest else first
