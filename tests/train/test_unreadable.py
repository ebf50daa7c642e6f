"""Files that break after the check: the run goes on, names them, and scores the rest."""

import json
import shutil

import pytest

from detkit.cli.config import load_config
from detkit.data.layout import open_data
from detkit.evaluation.coco import format_table
from detkit.overrides import override
from detkit.train import fit as training
from detkit.train.evaluate import evaluate
from detkit.train.fit import fit
from tests.train.tiny import tiny_experiment, write_rectangles

BROKEN = {"train": ("7", "31"), "val": ("12",)}
"""2% of the files."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run in which files break once the data are open, its data, and what was told."""
    root = write_rectangles(tmp_path_factory.mktemp("data"), train=100, val=50)
    shutil.copytree(root, root.parent / f"{root.name}-whole")

    def opened(data, broken):
        splits = open_data(data, broken)
        for split, names in BROKEN.items():
            for name in names:
                (root / f"{split}2017" / f"{name}.png").write_bytes(b"no picture any more")
        return splits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "open_data", opened)
        experiment = tiny_experiment(root, tmp_path_factory.mktemp("runs"), epochs=2, batch=10, data={"workers": 1})
        result = fit(experiment, progress=False)
    return root, result


def test_the_run_goes_on_and_lists_them(done):
    root, result = done
    listed = [line.split("\t") for line in (result.run / "unreadable.txt").read_text().splitlines()]
    expected = [(split, str(root / f"{split}2017" / f"{name}.png")) for split in BROKEN for name in BROKEN[split]]
    assert [(split, path) for split, path, _ in listed] == sorted(expected)
    assert all("cut short or in no format" in reason for _, _, reason in listed)
    assert result.paths["unreadable"] == result.run / "unreadable.txt"
    assert result.last.images == 49
    assert f"1 image could not be read: {root / 'val2017' / '12.png'}" in format_table(result.last).splitlines()


def test_the_ap_is_that_of_the_rest(done, tmp_path):
    root, result = done
    rest = root.parent / f"{root.name}-whole"
    file = rest / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["images"] = [image for image in content["images"] if image["file_name"] != "12.png"]
    content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] != 12]
    file.write_text(json.dumps(content))
    scores = [
        evaluate(result.paths["best"], [f"data.root={where}"], output=tmp_path / where.name, progress=False).result
        for where in (root, rest)
    ]
    assert scores[0].numbers == scores[1].numbers and scores[0].classes == scores[1].classes
    assert (scores[0].images, scores[0].boxes) == (scores[1].images, scores[1].boxes)
    assert (len(scores[0].unreadable), len(scores[1].unreadable)) == (1, 0)
    assert scores[0].numbers["AP"] > 0


def test_a_run_that_goes_on_knows_them(done):
    _, result = done
    stored = load_config(str(result.run / "config.json"))
    again = fit(override(stored, ["recipe.epochs=3"]), resume=result.run, progress=False)
    assert len((again.run / "unreadable.txt").read_text().splitlines()) == 3
    assert len(again.last.unreadable) == 1
