"""Data sets that can be read, but are not what was meant: what careless exports look like."""

import pytest

from detkit.data.check.findings import Effect
from detkit.data.layout import open_data
from detkit.errors import UserError

from .test_check_faults import found, only, planted

__all__ = ["planted"]


def test_one_class_under_two_spellings(planted):
    def rename(content):
        for entry, name in zip(content["categories"], ("Dog", " dog"), strict=True):
            entry["name"] = name

    findings = found(planted(train=rename, val=rename))
    assert set(findings) == {("class names that differ in capitals or spaces alone", split) for split in ("train", "val")}
    finding = findings["class names that differ in capitals or spaces alone", "train"]
    assert (finding.count, finding.effect) == (1, Effect.CHANGES)
    assert finding.places[0].endswith("instances_train.json, 'Dog' and ' dog'")


def test_corners_in_place_of_sizes_are_no_slip(planted):
    def corners(content):
        for entry in content["annotations"]:
            left, top, width, height = entry["bbox"]
            entry["bbox"] = [left + 20, top + 20, left + 20 + width, top + 20 + height]

    finding = only(planted(train=corners), "boxes reaching out of their image, clipped")
    assert finding.effect is Effect.CHANGES and "two corners" in finding.remedy


def test_boxes_in_fractions_of_their_image_are_no_pixels(planted):
    def fractions(content):
        content["annotations"] *= 4
        content["annotations"] = [
            entry | {"id": number, "bbox": [(value + number) / 100 for value in entry["bbox"]]}
            for number, entry in enumerate(content["annotations"], 1)
        ]

    finding = found(planted(train=fractions))["boxes in fractions of their image, not in pixels, dropped", "train"]
    assert (finding.count, finding.effect) == (12, Effect.CHANGES)
    with pytest.raises(UserError, match=r"no usable box .* nothing to learn.*in fractions of their image, not in pixels"):
        open_data(planted(train=fractions))


def test_flags_and_areas_as_careless_tools_write_them(planted):
    def careless(content):
        for entry, crowd, area in zip(content["annotations"], ("0", "1", "False"), (0, 100, -4), strict=True):
            entry.update(iscrowd=crowd, area=area)

    train = open_data(planted(train=careless)).train
    assert train.crowds.tolist() == [False, True, False]
    assert train.areas.tolist() == [200, 100, 200], "width times height where the file has no area"
