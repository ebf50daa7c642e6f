import json

import pytest

from tests.train.tiny import write_rectangles


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory):
    """A COCO folder of coloured rectangles: 12 training images, 6 validation images."""
    return write_rectangles(tmp_path_factory.mktemp("rectangles"))


@pytest.fixture
def broken(tmp_path):
    """Write a data set whose annotation files can be edited as dictionaries: ``broken(train=edit, val=edit)``."""

    def make(train=lambda content: None, val=lambda content: None):
        root = write_rectangles(tmp_path / "data", train=4, val=2)
        for split, edit in (("train", train), ("val", val)):
            file = root / "annotations" / f"instances_{split}2017.json"
            content = json.loads(file.read_text())
            edit(content)
            file.write_text(json.dumps(content))
        return root

    return make
