"""Each planted bug is found by the case that it is for, and by no others than those that follow from it."""

from pathlib import Path

import pytest
import torch

from detkit.checks import graphs, state
from detkit.checks.case import examine, title
from detkit.checks.contracts import check, contract
from detkit.parts import BlockSpec
from tests.checks import planted

GRAPHS = {title(graphs.compiles), title(graphs.exports)}


def broken(spec, graphs_too=True):
    """Return the names of the cases that break, without those that take long where they aren't asked for."""
    held_to = contract(BlockSpec)
    subject = held_to.subject(spec)
    cases = [case for case in held_to.cases if graphs_too or title(case) not in GRAPHS]
    return {finding.case: finding for case in cases if (finding := examine(case, subject)).outcome == "broke"}


@pytest.mark.parametrize("name", planted.BLOCKS)
def test_the_right_case_finds_the_bug(name):
    expected, follows = planted.EXPECTED[name], planted.FOLLOWS[name]
    found = broken(planted.BLOCKS[name](), graphs_too=bool(expected & GRAPHS) or name == "SpecSound")
    assert expected <= set(found), found
    assert not set(found) - expected - follows, [found[case] for case in set(found) - expected - follows]
    assert all(finding.text for finding in found.values())


def test_every_case_has_a_bug_that_it_finds():
    unplanted = {title(case) for case in contract(BlockSpec).cases} - set().union(*planted.EXPECTED.values())
    assert unplanted == {"builds and runs", "is stored and found by name", "is documented", "counts its operations"}


def test_what_cannot_be_stored_is_told():
    assert set(broken(planted.HoldsCode(activation=torch.relu), graphs_too=False)) == {"is stored and found by name"}


@pytest.mark.parametrize(
    ("part", "case", "words"),
    [
        (planted.Silent, state.is_documented, "the class has no docstring; no text under the field knob"),
        (planted.Uncounted, graphs.counts_its_operations, "cummax"),
        (planted.Typo, state.official_names_lead_somewhere, "doesn't have: convolution"),
    ],
)
def test_what_is_no_fault_is_noted(part, case, words):
    finding = examine(case, contract(BlockSpec).subject(part()))
    assert finding.outcome == "held" and words in finding.text


@pytest.mark.parametrize(("part", "words"), [(planted.NoModule, "returns a NoneType"), (planted.Crashes, "must match")])
def test_what_does_not_run_is_told_once(part, words):
    first, *others = check(part()).findings
    assert first.outcome == "broke" and words in first.text and first.advice
    assert {finding.outcome for finding in others} == {"skipped"}


def test_an_error_is_told_with_the_line_of_the_part():
    [place] = [finding.place for finding in check(planted.Crashes()).findings if finding.place]
    file, _, line = place.rpartition(":")
    text = Path(file).read_text().splitlines()[int(line) - 1]
    assert file.endswith("planted.py") and text.strip() == "return x + self.conv(x)[..., 1:]"


def test_what_follows_from_a_root_is_not_told_again():
    card = check(planted.BLOCKS["SpecCounts"]())
    broken = [finding.case for finding in card.findings if finding.outcome == "broke"]
    assert broken == ["repeats itself"]
    assert {f.text for f in card.findings if f.outcome == "skipped"} >= {"not before it repeats itself"}


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        (planted.ForgetsSuper, "begins with super().__init__()"),
        (planted.NamesADevice, "make tensors with device=x.device"),
        (planted.FoursInForward, "take the largest share that divides"),
        (planted.ReturnsTwo, "return one tensor (B, C, H, W), no tuple"),
    ],
)
def test_beginners_mistakes_get_advice(part, advice):
    findings = [finding for finding in check(part()).findings if finding.outcome == "broke"]
    assert advice in findings[0].advice, findings[0]
