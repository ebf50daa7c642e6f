"""The spec engine: parts by name, plain data and back, errors that say where and what instead."""

import json
from abc import abstractmethod
from typing import Any

import pytest
from pydantic import Field

from detkit.spec import Spec, SpecError, from_dict, noun, to_dict, user_modules


class PaintSpec(Spec):
    """A family for these tests."""

    @abstractmethod
    def build(self, channels: int): ...


class Gloss(PaintSpec):
    """Shines."""

    coats: int = Field(2, ge=1)
    """How often."""

    def build(self, channels):
        return channels


class Matt(PaintSpec):
    colour: str = "grey"
    under: PaintSpec | None = None

    def build(self, channels):
        return channels


class GlossDeluxe(Gloss):
    sparkle: float = 0.5


class Room(Spec):
    name: str
    walls: tuple[PaintSpec, ...] = (Gloss(), Matt())
    doors: dict[str, PaintSpec] = {}
    size: int | tuple[int, int] = 4
    options: dict[str, Any] = {}
    ceiling: PaintSpec = Matt()


def room(**fields) -> Room:
    return Room(name="kitchen", **fields)


def test_round_trip_keeps_subclasses_and_their_fields():
    spec = room(walls=(GlossDeluxe(coats=3, sparkle=0.9), Matt(under=Gloss(coats=5))), doors={"left": Gloss()}, size=(3, 5))
    tree = json.loads(json.dumps(to_dict(spec)))
    assert from_dict(Room, tree) == spec
    assert tree["walls"][0] == {"type": "GlossDeluxe", "coats": 3, "sparkle": 0.9}
    assert tree["walls"][1]["under"] == {"type": "Gloss", "coats": 5}


def test_every_default_is_stored():
    assert to_dict(Room(name="x"))["walls"][0] == {"type": "Gloss", "coats": 2}


def test_specs_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        Gloss().coats = 3


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"name": "x", "walls": [{"type": "Gloss", "coat": 1}]}, "walls.0: no field 'coat'; did you mean 'coats'?"),
        ({"name": "x", "walls": [{"type": "Glos"}]}, "walls.0: no paint 'Glos'; did you mean 'Gloss'?"),
        ({"name": "x", "walls": [{"type": "Gloss", "coats": "many"}]}, "walls.0.coats: input should be a valid integer"),
        ({"name": "x", "walls": [{"type": "Gloss", "coats": 0}]}, "walls.0.coats: input should be greater than or equal to 1"),
        ({"name": "x", "doors": {"left": {"coats": 1}}}, "doors.left: which paint? Give its 'type'"),
        ({"name": "x", "ceiling": 3}, "ceiling: should be a paint"),
        ({"walls": []}, "Room: the field 'name' is missing"),
        ({"name": "x", "Walls": []}, "Room: no field 'Walls'; did you mean 'walls'?"),
        (
            {"name": "x", "walls": [{"type": "Matt", "under": {"type": "Matt", "colours": 1}}]},
            "walls.0.under: no field 'colours'",
        ),
    ],
)
def test_errors_name_the_place_and_the_remedy(tree, message):
    with pytest.raises(SpecError) as error:
        from_dict(Room, tree)
    assert str(error.value).startswith(message)


def test_errors_of_plain_construction_name_the_class():
    with pytest.raises(SpecError, match=r"^Gloss: no field 'coat'; did you mean 'coats'\?$"):
        Gloss(coat=1)
    with pytest.raises(SpecError, match="^Gloss.coats: input should be a valid integer"):
        Gloss(coats="many")


def test_an_abstract_family_is_no_part():
    assert set(PaintSpec.parts()) == {"Gloss", "GlossDeluxe", "Matt"}
    with pytest.raises(SpecError, match="no paint 'PaintSpec'"):
        PaintSpec.find("PaintSpec")


def test_a_part_of_another_family_is_not_found():
    with pytest.raises(SpecError, match="no paint 'Room'"):
        from_dict(Room, {"name": "x", "ceiling": {"type": "Room", "name": "y"}})


def test_the_error_says_which_user_module_is_missing():
    with pytest.raises(SpecError, match=r"no paint 'Silk'.*add --import mylab\.paints"):
        from_dict(Room, {"name": "x", "ceiling": {"type": "Silk"}}, modules=["mylab.paints"])
    assert user_modules(room()) == [__name__]


class Plaster(Spec):
    paint: PaintSpec | Room


def test_a_typo_where_several_families_fit_finds_the_nearest_of_all():
    with pytest.raises(SpecError, match=r"^paint: no paint or room 'Mat'; did you mean 'Matt'\?$"):
        from_dict(Plaster, {"paint": {"type": "Mat"}})
    assert from_dict(Plaster, {"paint": {"type": "Gloss"}}) == Plaster(paint=Gloss())


def test_type_is_reserved():
    with pytest.raises(TypeError, match="reserved"):
        type("Bad", (PaintSpec,), {"__annotations__": {"type": int}, "__module__": __name__, "type": 3})


def test_two_parts_of_one_name_are_an_error_but_redefinition_replaces():
    with pytest.raises(TypeError, match="elsewhere defines paint 'Gloss', but tests.test_spec already does"):
        type("Gloss", (PaintSpec,), {"__module__": "elsewhere", "__annotations__": {}, "build": lambda self, channels: None})
    kept = []
    for coats in (7, 8):  # as a notebook cell run twice
        body = {"__module__": __name__, "__annotations__": {"coats": int}, "coats": coats, "build": lambda self, channels: None}
        kept.append(type("Notebook", (PaintSpec,), body))
    assert from_dict(Room, {"name": "x", "ceiling": {"type": "Notebook"}}).ceiling.coats == 8


def test_only_plain_data_can_be_stored():
    with pytest.raises(TypeError, match="plain data only"):
        to_dict(room(options={"f": object()}))


def test_nouns():
    assert [noun(c) for c in (PaintSpec, Room)] == ["paint", "room"]
    BoxLossSpec = type("BoxLossSpec", (), {})
    assert noun(BoxLossSpec) == "box loss"
