"""Dotted overrides: applied in order, validated at the end, wrong paths explained."""

from typing import Literal

import pytest

from detkit.overrides import override
from detkit.spec import Spec, SpecError
from tests.test_spec import Gloss, GlossDeluxe, Matt, PaintSpec, Room, room


class House(Spec):
    rooms: tuple[Room, ...] = (room(), room())
    insulation: float | None = None
    precision: str = "32"
    tags: tuple[str, ...] = ()
    lit: bool = False
    roof: Literal["flat", "gable"] = "flat"
    trainer: dict[str, str | int] = {}


class Holder(Spec):
    paint: PaintSpec | None = None
    free: dict[str, object] = {}


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("rooms.0.size=6", lambda h: h.rooms[0].size, 6),
        ("rooms.0.size=(6,8)", lambda h: h.rooms[0].size, (6, 8)),
        ("rooms.*.name=hall", lambda h: [r.name for r in h.rooms], ["hall", "hall"]),
        ("rooms.*.walls.*=Matt", lambda h: h.rooms[1].walls, (Matt(), Matt())),
        ("rooms.0.walls.0=GlossDeluxe(sparkle=0.1)", lambda h: h.rooms[0].walls[0], GlossDeluxe(sparkle=0.1)),
        ("rooms.1.walls=[Gloss(coats=9), Matt]", lambda h: h.rooms[1].walls, (Gloss(coats=9), Matt())),
        ("rooms.1.walls=Gloss", lambda h: h.rooms[1].walls, (Gloss(),)),
        ("rooms.0.doors.left=Gloss", lambda h: h.rooms[0].doors, {"left": Gloss()}),
        ("rooms.0.ceiling=Matt(under=Gloss(coats=4))", lambda h: h.rooms[0].ceiling, Matt(under=Gloss(coats=4))),
        ("insulation=1e-3", lambda h: h.insulation, 1e-3),
        ("insulation=none", lambda h: h.insulation, None),
        ("precision=16", lambda h: h.precision, "16"),
        ("tags=a,b.c", lambda h: h.tags, ("a", "b.c")),
        ("tags=[a.b, c]", lambda h: h.tags, ("a.b", "c")),
        ("tags=[a.b.0,c.*.d]", lambda h: h.tags, ("a.b.0", "c.*.d")),  # as a shell leaves it of quoted words
        ('tags=["a.b.0","c"]', lambda h: h.tags, ("a.b.0", "c")),
        ("tags=a", lambda h: h.tags, ("a",)),
        ("tags=()", lambda h: h.tags, ()),
        ("roof=gable", lambda h: h.roof, "gable"),
        ("lit=true", lambda h: h.lit, True),
        ("rooms.0.options.devices=2", lambda h: h.rooms[0].options, {"devices": 2}),
        ("rooms.0.options.devices=[0,1]", lambda h: h.rooms[0].options, {"devices": [0, 1]}),
        ("rooms.0.options.precision=bf16-mixed", lambda h: h.rooms[0].options, {"precision": "bf16-mixed"}),
        ("rooms.0.options.check=false", lambda h: h.rooms[0].options, {"check": False}),
        ("rooms.0.options.path=~/a=b", lambda h: h.rooms[0].options, {"path": "~/a=b"}),
    ],
)
def test_values(text, path, value):
    assert path(override(House(), [text])) == value


def test_in_order_and_validated_at_the_end():
    changed = override(House(), ["rooms.0.ceiling=GlossDeluxe", "rooms.0.ceiling.sparkle=0.2", "rooms.0.ceiling.coats=3"])
    assert changed.rooms[0].ceiling == GlossDeluxe(coats=3, sparkle=0.2)
    assert override(House(), ["insulation=3", "insulation=4"]).insulation == 4
    assert override(House(), []) == House()


def test_none_removes_an_entry():
    assert override(House(), ["rooms.0.doors.left=Gloss", "rooms.0.doors.left=none"]).rooms[0].doors == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rooms", "'rooms' is not an override; write path=value"),
        ("room=3", "House: no field 'room'; did you mean 'rooms'?"),
        ("rooms.5.name=x", "rooms: has 2 items; write 0 to 1 or *, not '5'"),
        ("rooms.0.nam=x", "rooms.0: no field 'nam'; did you mean 'name'?"),
        ("rooms.0.ceiling=Glos", "rooms.0.ceiling: no paint 'Glos'; did you mean 'Gloss'?"),
        ("rooms.0.ceiling=Gloss(coat=3)", "rooms.0.ceiling: no field 'coat'; did you mean 'coats'?"),
        (
            "rooms.0.ceiling.under.coats=3",
            "rooms.0.ceiling.under: is none, so it has no 'coats'; set rooms.0.ceiling.under first",
        ),
        ("rooms.0.ceiling.type=Gloss", "rooms.0.ceiling: 'type' cannot be set alone; write rooms.0.ceiling=Gloss"),
        ("rooms.0.doors.left=none", "rooms.0.doors: no entry 'left' to remove"),
        ("insulation.x=3", "insulation: is none"),
        ("precision.x=3", "precision: is '32', which has no fields"),
        ("roof=round", "roof: input should be 'flat' or 'gable' (got 'round')"),
        (
            "rooms.0.size=many",
            "rooms.0.size: input should be a valid integer, unable to parse string as an integer (got 'many')",
        ),
        ("insulation=thick", "insulation: input should be a valid number"),
        ("rooms.1.walls.0.coats=0", "rooms.1.walls.0.coats: input should be greater than or equal to 1"),
    ],
)
def test_errors(text, message):
    with pytest.raises(SpecError) as error:
        override(House(), [text])
    assert str(error.value).startswith(message)


def test_nothing_changes_in_the_original():
    house = House()
    override(house, ["rooms.0.doors.left=Gloss", "insulation=2"])
    assert house == House()


def test_an_optional_part_is_set_by_name():
    assert override(Holder(), ["paint=Gloss", "paint.coats=4"]).paint == Gloss(coats=4)
