"""Two runs can tell whether they had the same data, wherever it was."""

from dataclasses import replace

from detkit.data.fingerprint import fingerprint
from detkit.data.layout import open_data
from detkit.data.spec import Data
from tests.train.tiny import write_rectangles


def test_it_is_of_names_and_boxes_not_of_places(tmp_path):
    first, second = (open_data(Data(root=str(write_rectangles(tmp_path / name, 4, 2)))) for name in ("a", "b"))
    told = fingerprint(first.train)
    assert told == fingerprint(second.train) and (told["images"], told["boxes"]) == (4, len(first.train.labels))
    moved = first.train.boxes.copy()
    moved[-1, 2] -= 1e-3
    for changed in ({"boxes": moved}, {"labels": 1 - first.train.labels}, {"names": ("red", "green")}):
        assert fingerprint(replace(first.train, **changed))["sha256"] != told["sha256"]
