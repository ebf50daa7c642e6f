"""Costs as tables: for the terminal, Markdown, LaTeX, and as records for CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from detkit.profiling.costs import Cost, tree

CONVENTION = (
    "Parameters: those that train, as built. GFLOPs: convolutions, matrix products and attention, 2 for a multiply-accumulate; "
    "element-wise, norms: 1e9 operations, one an element; all of the fused form."
)
"""What the columns that are counted mean."""


class Figure(NamedTuple):
    """A column: what it is called, the value of a cost (None where it was not measured), and how it is written."""

    name: str
    value: Callable[[Cost], float | None]
    form: str


ALL_PARAMETERS = "all parameters"
FIGURES = (
    Figure("parameters", lambda cost: cost.trainable, ",.0f"),
    Figure(ALL_PARAMETERS, lambda cost: cost.whole.parameters, ",.0f"),
    Figure("GFLOPs", lambda cost: cost.whole.flops.products / 1e9, ".3f"),
    Figure("element-wise", lambda cost: cost.whole.flops.elementwise / 1e9, ".3f"),
    Figure("norms", lambda cost: cost.whole.flops.norms / 1e9, ".3f"),
    Figure("p50 ms", lambda cost: _times(1e3, cost.percentile(50)), ".2f"),
    Figure("p95 ms", lambda cost: _times(1e3, cost.percentile(95)), ".2f"),
    Figure("memory MB", lambda cost: _times(1e-6, cost.memory), ".1f"),
)


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else value * factor


class Table(NamedTuple):
    """Cells as text; those of the first column stand left, others right."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


def cost_table(costs: Sequence[Cost]) -> Table:
    """Return a row a detector, each but the first followed by its difference to the first: absolute, and in percent.

    Columns that were not measured are left out, and the count of all parameters where all of them train.
    """
    frozen = any(cost.trainable != cost.whole.parameters for cost in costs)
    figures = [
        figure
        for figure in FIGURES
        if all(figure.value(cost) is not None for cost in costs) and (frozen or figure.name != ALL_PARAMETERS)
    ]
    forms = [figure.form for figure in figures]
    first, *others = ([figure.value(cost) or 0 for figure in figures] for cost in costs)
    rows = [_row(_label(costs[0]), first, forms)]
    for cost, values in zip(costs[1:], others, strict=True):
        rows.append(_row(_label(cost), values, forms))
        pairs = list(zip(values, first, strict=True))
        rows.append(_row(("  difference", ""), [own - other for own, other in pairs], [f"+{form}" for form in forms]))
        rows.append(("  in percent", "", *(f"{100 * (own - other) / other:+.1f}%" if other else "" for own, other in pairs)))
    return Table(("detector", "size", *(figure.name for figure in figures)), rows)


def _label(cost: Cost) -> tuple[str, str]:
    return cost.name, "x".join(map(str, cost.shape))


def _row(label: tuple[str, str], values: Sequence[float], forms: Sequence[str]) -> tuple[str, ...]:
    return (*label, *(format(value, form) for value, form in zip(values, forms, strict=True)))


def layer_table(cost: Cost, depth: int) -> Table:
    """Return a row a role, down to ``depth`` dots deep, with its share of the GFLOPs."""
    whole = cost.whole.flops.products
    rows: list[tuple[str, ...]] = []
    for role, share, itself in tree(cost, depth):
        name = f"{role or cost.name} (itself)" if itself else role or cost.name
        products = share.flops.products
        if itself and not products and not share.parameters:
            continue  # sums and activations alone
        part = f"{products / whole:.1%}" if whole else ""
        rows.append((name, f"{share.parameters:,}", f"{products / 1e9:.3f}", part))
    return Table(("role", "parameters", "GFLOPs", "share"), rows)


def records(costs: Sequence[Cost]) -> list[dict[str, object]]:
    """Return a record a detector, with plain numbers, for CSV; differences are to the first."""
    found = []
    for cost in costs:
        record: dict[str, object] = {"detector": cost.name, "height": cost.shape[0], "width": cost.shape[1]}
        for name, value, _ in FIGURES:
            key, own, first = name.lower().replace(" ", "_").replace("-", ""), value(cost), value(costs[0])
            record[key] = own
            difference = None if own is None or first is None else own - first
            record[f"{key}_difference"] = difference
            record[f"{key}_percent"] = None if difference is None or not first else 100 * difference / first
        record["uncounted"] = " ".join(sorted(cost.whole.flops.uncounted))
        found.append(record)
    return found


def uncounted(costs: Sequence[Cost]) -> str | None:
    """Return the sentence that names operations without a formula; None where there are none."""
    names = sorted({name for cost in costs for name in cost.whole.flops.uncounted})
    return f"Not counted, for want of a formula: {', '.join(names)}." if names else None


def text(table: Table) -> str:
    """Return the table with columns aligned by spaces."""
    widths = [max(map(len, column)) for column in zip(table.header, *table.rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in (table.header, *table.rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def markdown(table: Table) -> str:
    """Return the table in Markdown."""
    ruler = ("---", *("---:" for _ in table.header[1:]))
    lines = [[cell.strip().replace("|", r"\|") for cell in row] for row in (table.header, ruler, *table.rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex(table: Table) -> str:
    """Return the table as a LaTeX tabular that needs no package."""
    lines = [" & ".join(escaped(cell.strip()) for cell in row) + r" \\" for row in (table.header, *table.rows)]
    columns = "l" + "r" * (len(table.header) - 1)
    body = "\n".join([r"\hline", lines[0], r"\hline", *lines[1:], r"\hline"])
    return f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}"


def escaped(words: str) -> str:
    """Return text with LaTeX's special characters escaped."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in words)
