"""Which cases each family's parts are held to. To add a case, write a function and name it here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from detkit.checks import box_losses, detectors, graphs, heads, losses, precision, repeat, shapes, state, subjects, training
from detkit.checks.case import Card, Case, Finding, examine, title, unexamined
from detkit.checks.subject import Subject
from detkit.parts import (
    AssignerSpec,
    BackboneSpec,
    BlockSpec,
    BoxLossSpec,
    BranchSpec,
    ClassLossSpec,
    CriterionSpec,
    DetectorSpec,
    DownsampleSpec,
    HeadSpec,
    MatcherSpec,
    NeckSpec,
    StageSpec,
    UpsampleSpec,
)
from detkit.spec import Spec, noun, to_dict


class Contract(NamedTuple):
    """What a family's parts are held to.

    Attributes:
        subject: spec -> what cases run on.
        cases: in the order of the card; where one of `ROOTS` breaks, those after it are left out.
        slow: cases that take a minute or so.
    """

    subject: Callable[[Any], Subject]
    cases: tuple[Case, ...]
    slow: tuple[Case, ...] = ()


STORED = (state.is_stored_and_found_by_name, state.is_documented)
NETWORK = (
    *STORED,
    repeat.leaves_random_states_alone,
    repeat.repeats_itself,
    training.trains_with_one_image,
    training.trains_after_inference,
    training.takes_bfloat16_autocast,
    training.takes_float16_autocast,
    precision.keeps_its_dtype,
    precision.takes_half_precision,
    precision.takes_channels_last,
    precision.stays_on_its_device,
    repeat.treats_images_apart,
    repeat.leaves_its_input_alone,
    repeat.builds_alike_from_a_seed,
    repeat.keeps_instances_apart,
    repeat.copies_are_equal_and_apart,
    state.round_trips_its_state,
    state.official_names_lead_somewhere,
    graphs.fuses,
    graphs.compiles,
    graphs.exports,
    graphs.counts_its_operations,
)
MAPS = (
    shapes.builds_and_runs,
    state.registers_its_parts,
    shapes.keeps_its_shapes,
    shapes.keeps_its_shapes_in_training,
    *NETWORK,
)
ONE_MAP = (*MAPS, shapes.takes_any_width)
ROOTS = (shapes.builds_and_runs, state.registers_its_parts, repeat.repeats_itself)
"""Cases on which the later ones rest: where one breaks, these would only tell it again, in other words."""
SLOW = (graphs.exports_any_size, graphs.compiles_with_inductor)
BOX_LOSS = (
    box_losses.compares_pair_by_pair,
    *STORED,
    box_losses.is_zero_where_equal,
    box_losses.moves_boxes_to_their_targets,
    box_losses.stays_finite_on_degenerate_boxes,
    box_losses.keeps_or_lifts_precision,
    box_losses.learns_in_training_alone,
    box_losses.compiles_as_one,
)


def _plain(spec: Any) -> Subject:
    return Subject(spec, spec.build)


def _stored(spec: Any) -> Subject:
    return Subject(spec, lambda: None)


def _criterion(spec: CriterionSpec) -> Subject:
    return Subject(spec, lambda: spec.build(subjects.NUM_CLASSES, (8, 16, 32)))


def _detector(spec: DetectorSpec) -> Subject:
    return Subject(spec, lambda: spec.build(subjects.NUM_CLASSES))


CONTRACTS: dict[type[Spec], Contract] = {
    BlockSpec: Contract(subjects.block, (*ONE_MAP, graphs.starts_gated), SLOW),
    StageSpec: Contract(subjects.stage, ONE_MAP, SLOW),
    UpsampleSpec: Contract(subjects.upsample, ONE_MAP, SLOW),
    DownsampleSpec: Contract(subjects.downsample, ONE_MAP, SLOW),
    BranchSpec: Contract(subjects.branch, ONE_MAP, SLOW),
    BackboneSpec: Contract(subjects.backbone, (*MAPS, shapes.declares_its_levels, shapes.builds_the_levels_asked_for), SLOW),
    NeckSpec: Contract(subjects.neck, (*MAPS, shapes.declares_its_levels, shapes.remixes_gently), SLOW),
    HeadSpec: Contract(
        subjects.head,
        (shapes.builds_and_runs, state.registers_its_parts, heads.puts_out_its_type, heads.trains_with_targets, *NETWORK),
        SLOW,
    ),
    BoxLossSpec: Contract(_plain, BOX_LOSS),
    ClassLossSpec: Contract(_plain, (losses.costs_every_logit, *STORED, losses.knows_good_from_bad)),
    AssignerSpec: Contract(_plain, (losses.assigns_each_prediction_once, *STORED)),
    MatcherSpec: Contract(_plain, (losses.matches_one_to_one, *STORED)),
    CriterionSpec: Contract(_criterion, (losses.gives_finite_losses, *STORED)),
    DetectorSpec: Contract(
        _detector, (detectors.predicts, *STORED, detectors.detects, detectors.learns, detectors.fuses_whole)
    ),
}
"""By family."""


def contract(family: type[Spec]) -> Contract:
    """Return what the parts of ``family`` are held to; families without a contract are only stored and found."""
    return CONTRACTS.get(family, Contract(_stored, STORED))


def check(spec: Spec, *, slow: bool = False) -> Card:
    """Run a part through its whole contract.

    Args:
        spec: the part, with the fields to check it with.
        slow: the slow cases too.
    """
    held_to = contract(spec.family())
    subject = held_to.subject(spec)
    findings: list[Finding] = []
    reason = ""
    for case in held_to.cases + (held_to.slow if slow else ()):
        findings.append(unexamined(case, reason) if reason else examine(case, subject))
        if case in ROOTS and findings[-1].outcome == "broke":
            reason = f"not before it {title(case)}"
    return Card(described(spec), noun(spec.family()), tuple(findings))


def described(spec: Spec) -> str:
    """Return a part's name, with the fields that differ from their defaults: ``C2f(expansion=0.25)``."""
    given = {name: to_dict(getattr(spec, name)) for name in type(spec).model_fields}
    fields = type(spec).model_fields.items()
    defaults = {
        name: to_dict(field.get_default(call_default_factory=True)) for name, field in fields if not field.is_required()
    }
    changed = [f"{name}={value}" for name, value in given.items() if name not in defaults or defaults[name] != value]
    return f"{type(spec).__name__}({', '.join(changed)})" if changed else type(spec).__name__
