"""Another set of classes keeps the rows of those that are known by name."""

import pytest
import torch

from detkit.heads.branches import SeparableBranch
from detkit.heads.dense import DenseHead
from detkit.weights.class_rows import ClassNames, class_tensors, common_labels, with_class_rows
from tests.networks import scrambled, small_rtdetr, small_yolo

FILE = ("person", "bicycle", "car", "dog", "cat")
OWN = ("forklift", "car", "person")
FEW = ClassNames(OWN, FILE)


def yolo(classes):
    return small_yolo(head=DenseHead(class_branch=SeparableBranch(), bins=8)).build(classes)


BUILD = {"yolo": yolo, "rtdetr": lambda classes: small_rtdetr().build(classes)}


@pytest.mark.parametrize("family", BUILD)
def test_all_that_changes_shape_with_the_classes_is_named_and_nothing_else(family):
    few, many = (BUILD[family](count).state_dict() for count in (3, 5))
    changed = [name for name in few if few[name].shape != many[name].shape]
    assert sorted(class_tensors(BUILD[family](3))) == sorted(changed) and changed
    assert all(len(few[name]) - 3 == len(many[name]) - 5 and few[name].shape[1:] == many[name].shape[1:] for name in changed)


@pytest.mark.parametrize("family", BUILD)
def test_known_classes_keep_their_rows_and_others_their_initial_ones(family):
    module, file = BUILD[family](3), scrambled(BUILD[family](5)).state_dict()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    fitted, rows = with_class_rows(module, file, FEW)
    assert rows.names == {"car": "car", "person": "person"} and rows.total == 3 and not rows.refused
    assert rows.taken == {name: (len(file[name]) - 3, len(file[name]) - 2) for name in class_tensors(module)}
    assert str(rows) == "the rows of 2 of 3 classes were taken by name: car, person"
    module.load_state_dict(fitted)
    for name, tensor in module.state_dict().items():
        if name not in class_tensors(module):
            assert torch.equal(tensor, file[name]), name
            continue
        assert torch.equal(tensor[0], before[name][0]), name
        assert torch.equal(tensor[1], file[name][2]) and torch.equal(tensor[2], file[name][0]), name
        assert torch.equal(tensor[3:], file[name][5:]), name  # that of no class, where there is one


def test_as_many_classes_in_another_order_are_no_other_classes():
    module, file = yolo(5), scrambled(yolo(5)).state_dict()
    order = [3, 0, 4, 2, 1]
    fitted, rows = with_class_rows(module, file, ClassNames([FILE[row] for row in order], FILE))
    assert rows.total == len(rows.names) == 5
    for name in class_tensors(module):
        assert torch.equal(fitted[name], file[name][order])


@pytest.mark.parametrize(
    ("own", "file", "expected"),
    [
        (("Person", "traffic_light", "T-shirt"), ("traffic light", "person", "t shirt"), [(0, 1), (1, 0), (2, 2)]),
        (("Car", "car"), ("bus", "car"), [(1, 1)]),  # what is exact comes first, and serves one alone
        (("Car", "CAR"), ("car", "bus"), []),  # which of the two is it?
        (("car",), ("Car", "CAR"), []),
        (("red cell",), ("red", "cell"), []),
        (("car",), ("car", "car"), [(0, 0)]),
    ],
)
def test_names_that_differ_in_case_or_spaces_are_one_where_there_is_no_doubt(own, file, expected):
    assert common_labels(ClassNames(own, file)) == expected


def test_another_spelling_is_told():
    module, file = yolo(2), scrambled(yolo(5)).state_dict()
    fitted, rows = with_class_rows(module, file, ClassNames(("Car", "person"), FILE))
    assert str(rows) == "the rows of 2 of 2 classes were taken by name: Car (there car), person"
    assert all(torch.equal(fitted[name], file[name][[2, 0]]) for name in class_tensors(module))


def test_where_no_class_is_known_no_row_is_taken():
    module, file = yolo(2), scrambled(yolo(5)).state_dict()
    fitted, rows = with_class_rows(module, file, ClassNames(("red", "white"), FILE))
    assert set(file) - set(fitted) == set(class_tensors(module))
    assert str(rows) == "the rows of 0 of 2 classes were taken by name"
    assert rows.taken == dict.fromkeys(class_tensors(module), (0, 2))


def test_what_differs_in_more_than_classes_is_left_out_with_its_bias():
    """Published class branches of the smallest YOLOs are as wide as there are classes."""
    narrow, file = (
        yolo(3),
        scrambled(small_yolo(head=DenseHead(class_branch=SeparableBranch(), bins=8, class_width=40)).build(5)),
    )
    fitted, rows = with_class_rows(narrow, file.state_dict(), FEW)
    assert not set(class_tensors(narrow)) & set(fitted) and rows.names == {}
    assert rows.taken == {f"head.class_branch.{level}.predict.bias": (0, 3) for level in ("p3", "p4", "p5")}
    assert len(rows.refused) == 3 and rows.refused["head.class_branch.p3.predict.weight"] == ((3, 16, 1, 1), (5, 40, 1, 1))
    assert "0 of 3" in str(rows) and "p3.predict.weight (and 2 more) has [3, 16, 1, 1], in the file [5, 40, 1, 1]" in str(rows)


def test_names_that_do_not_count_the_rows_fit_nothing():
    module, file = yolo(3), scrambled(yolo(5)).state_dict()
    fitted, rows = with_class_rows(module, file, ClassNames(OWN, FILE[:4]))
    assert rows.names == {} and len(rows.refused) == 6 and not set(class_tensors(module)) & set(fitted)


def test_rows_take_the_modules_precision():
    module, file = yolo(3).double(), scrambled(yolo(5)).half().state_dict()
    fitted, _ = with_class_rows(module, file, FEW)
    assert all(fitted[name].dtype == torch.float64 for name in class_tensors(module))


def test_a_class_branch_has_the_width_that_is_asked_for():
    spec = DenseHead(class_width=40)
    assert small_yolo(head=spec).build(3).head.class_branch["p5"].second.conv.out_channels == 40
