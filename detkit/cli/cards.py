"""What the contract harness found, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill, indent

from detkit.checks.case import Card, Finding

SLOW = 1.0
"""Seconds from which on they are told."""


def card_text(card: Card, *, brief: bool = False) -> str:
    """Return a card as text; a brief one leaves out what held and what was skipped."""
    counts = ", ".join(f"{card.count(outcome)} {outcome}" for outcome in ("held", "broke", "skipped") if card.count(outcome))
    seconds = f" ({card.seconds:.0f} s)" if card.seconds >= SLOW else ""
    lines = [f"{card.family} {card.part}: {counts}{seconds}"]
    held = spoken([finding for finding in card.findings if finding.outcome == "held"])
    if held and not brief:
        lines.append(wrapped("held", held))
    lines += [wrapped("note", f"{f.case}: {f.text}") for f in card.findings if f.outcome == "held" and f.text]
    if not brief:
        lines += [wrapped("skipped", f"{spoken(group)}: {group[0].text}") for group in alike(card.findings, "skipped")]
    lines += [broken_text(group) for group in alike(card.findings, "broke")]
    return "\n".join(lines)


def spoken(group: Sequence[Finding]) -> str:
    """Return the cases of a group."""
    return ", ".join(finding.case for finding in group)


def alike(findings: Sequence[Finding], outcome: str) -> list[list[Finding]]:
    """Return the findings of an outcome in groups of one cause: the same words about the same line."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        if finding.outcome == outcome:
            groups.setdefault((finding.text, finding.place), []).append(finding)
    return list(groups.values())


def broken_text(group: Sequence[Finding]) -> str:
    """Return what broke in one way."""
    first = group[0]
    lines = [wrapped("BROKE", spoken(group))]
    told = [first.promise if len(group) == 1 else "", first.text, f"Instead: {first.advice}" if first.advice else ""]
    told.append(f"At {shortened(first.place)}" if first.place else "")
    return "\n".join(lines + [wrapped("", text) for text in told if text])


def shortened(place: str) -> str:
    """Return ``file:line`` relative to the current folder, where it lies in there."""
    return place.removeprefix(f"{Path.cwd()}/")


def wrapped(label: str, text: str) -> str:
    """Return a paragraph behind a label."""
    return f"  {label:8}" + indent(fill(text, 100, break_long_words=False, break_on_hyphens=False), " " * 10).lstrip()


def summary(cards: Sequence[Card]) -> str:
    """Return the counts over all cards."""
    cases = sum(len(card.findings) for card in cards)
    counts = ", ".join(f"{sum(card.count(outcome) for card in cards)} {outcome}" for outcome in ("held", "broke", "skipped"))
    return f"{len(cards)} parts, {cases} cases: {counts}" if len(cards) != 1 else f"1 part, {cases} cases: {counts}"
