"""What is told of loaded weights: as data, as a table, and against a share that is asked for."""

import json

import pytest

from detkit.errors import UserError
from detkit.weights.class_rows import KeptRows
from detkit.weights.report import Cover, Part, Report, parameters_of

PARAMETERS = {
    "backbone.first.weight": 10,
    "backbone.first.bias": 2,
    "backbone.attention.qkv.weight": 30,
    "backbone.attention.project.weight": 8,
    "head.weight": 50,
}
PRODUCTS = {
    "backbone.first": 100,
    "backbone.attention.qkv": 300,
    "backbone.attention": 40,  # queries by keys
    "backbone.attention.project.sum": 5,
    "head": 600,
    "other": 7,
}


def report(*missing, **fields):
    loaded = tuple(name for name in PARAMETERS if name not in missing)
    made = Report(
        **({"loaded": loaded, "initial": missing, "reshaped": {}, "unexpected": (), "parameters": PARAMETERS} | fields)
    )
    return made.with_flops(PRODUCTS)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("backbone.first", ["backbone.first.weight", "backbone.first.bias"]),
        ("backbone.attention", ["backbone.attention.qkv.weight", "backbone.attention.project.weight"]),
        ("backbone.attention.softmax", ["backbone.attention.qkv.weight", "backbone.attention.project.weight"]),
        ("backbone.first.activation", ["backbone.first.weight", "backbone.first.bias"]),
        ("", list(PARAMETERS)),
        ("neck", list(PARAMETERS)),
    ],
)
def test_an_operation_belongs_to_the_nearest_parameters(module, expected):
    assert parameters_of(module, PARAMETERS) == expected


def test_everything_loaded_is_everything_covered():
    assert report().share == report().flop_share == 1
    assert report().found == (5, 5)
    report().check(1.0)


def test_an_operation_counts_where_all_its_parameters_were_loaded():
    partly = report("backbone.attention.qkv.weight", "backbone.first.bias")
    assert partly.share == 68 / 100
    assert partly.flop_share == 605 / 1045  # the head, and what follows the projection
    assert partly.parts["backbone"] == Part(loaded=2, initial=2, parameters=Cover(18, 50), flops=Cover(5, 445))
    assert partly.parts["head"] == Part(loaded=1, parameters=Cover(50, 50), flops=Cover(600, 600))


def test_flops_are_those_of_what_was_loaded_for():
    backbone = {name: count for name, count in PARAMETERS.items() if name.startswith("backbone.")}
    assert report(parameters=backbone).products.keys() == PRODUCTS.keys() - {"head", "other"}


def test_a_share_that_is_too_small_names_the_largest_parts():
    partly = report("backbone.attention.qkv.weight", "head.weight")
    partly.check(0.03)
    with pytest.raises(
        UserError,
        match=r"^20\.0% of the parameters and 10\.0% of the FLOPs loaded, from 3 of the file's 3 tensors, less than 90\.0%; "
        r"the largest parts without their parameters: head \(50 of 50\), backbone \(30 of 50\)$",
    ):
        partly.check(0.9)
    with pytest.raises(UserError, match="less than 15"):
        partly.check(0.15)  # enough of the parameters, not of the FLOPs
    Report((), (), {}, (), {}).check(1.0)  # nothing to load


def test_overlapped_tensors_have_a_column_and_no_share():
    shapes = {"head.weight": ((50, 1), (30, 1))}
    partly = report("head.weight", initial=(), overlapped=shapes)
    assert partly.share == 0.5 and partly.parts["head"] == Part(overlapped=1, parameters=Cover(0, 50), flops=Cover(0, 600))
    assert partly.fault == "1 tensors are of another shape: head.weight"
    head, *rows, summary = str(partly).splitlines()
    assert head.split() == ["part", "loaded", "overlapped", "initial", "reshaped", "unexpected", "parameters", "FLOPs"]
    assert rows[1].split() == ["head", "0", "1", "0", "0", "0", "0.0%", "0.0%"]
    assert summary == "50.0% of the parameters and 42.5% of the FLOPs loaded, from 4 of the file's 5 tensors"


def test_a_hundred_percent_is_all_of_it():
    assert [str(Cover(loaded, 100_000)) for loaded in (0, 99_999, 100_000)] == ["0.0%", "99.9%", "100.0%"]
    assert str(Cover()) == "-"


def test_rows_of_classes_count_by_their_number():
    kept = KeptRows({"car": "car", "person": "person"}, 5, {"head.weight": (2, 5)}, {})
    partly = report(rows=kept)
    assert partly.parts["head"] == Part(loaded=1, parameters=Cover(20, 50), flops=Cover(240, 600))
    assert partly.share == 70 / 100 and partly.found == (5, 5)
    assert partly.fault == "1 tensors are of other classes: head.weight"
    none = report("head.weight", rows=KeptRows({}, 5, {"head.weight": (0, 5)}, {}))
    assert none.share == 0.5 and none.found == (4, 5), "the file has it, though for other classes"
    assert json.loads(json.dumps(partly.data))["classes"] == {"car": "car", "person": "person"}


def test_all_of_it_is_plain_data():
    data = json.loads(json.dumps(report("head.weight", reshaped={"head.weight": ((2,), (3,))}, initial=()).data))
    assert data["parameters"] == 0.5 and data["reshaped"] == {"head.weight": [[2], [3]]}
    assert data["parts"]["head"]["flops"] == {"loaded": 0, "whole": 600}
