"""``tools/check_data.py`` and ``tools/split_data.py``: what they say, write and return."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from detkit.cli import check_data, split_data
from detkit.cli.charts import class_bars, size_map
from detkit.data.layout import open_data
from detkit.data.spec import Data


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, command, *words):
    status = command([str(word) for word in words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, said.out, said.err


def spoil(content):
    content["annotations"][0]["bbox"] = [-9, 5, 30, 20]
    content["annotations"][1]["bbox"] = [5, 5, 0, 20]
    content["categories"][0]["name"] = "<b>red</b>"


def test_a_set_in_order(capsys, rectangles):
    status, out, _ = run(capsys, check_data.main, rectangles, "--workers", 0)
    assert status == 0 and "nothing is wrong with it" in out
    page = Path("runs/check_data") / rectangles.name / "report.html"
    assert f"with pictures: {page}" in out and "Nothing is wrong with it" in page.read_text()


def test_faults_are_told_shown_and_mended(capsys, broken):
    root = broken(train=spoil, val=lambda content: content["categories"][0].update(name="<b>red</b>"))
    status, out, _ = run(capsys, check_data.main, root, "--workers", 2, "--html", "a/b.html", "--write", "new")
    assert status == 1
    rows = [line.split("  ") for line in out.splitlines()]
    assert ["boxes without width or height, dropped", "changes the score"] in [
        [r[1].strip(), r[-1].strip()] for r in rows if len(r) > 4
    ]
    assert re.search(r"^      annotation 2 of image \d$", out, re.MULTILINE)
    assert "not in order" in out and "mended: new; train on it with data.root=new" in out
    page = Path("a/b.html").read_text()
    assert "<b>red" not in page and "&lt;b&gt;red" in page
    assert page.count("data:image/jpeg;base64,") == 2 and not re.search(r"(src|href)=.(http|file|/)", page)
    for chart in re.findall("<svg.*?</svg>", page):
        ElementTree.fromstring(chart)
    assert page.count("<svg") == 3
    status, out, _ = run(capsys, check_data.main, "new", "--workers", 0)
    assert status == 0
    status, _, err = run(capsys, check_data.main, root, "--write", "new")
    assert status == 2 and "exists, and is not overwritten" in err


def test_an_annotation_file_is_mended_in_its_place(capsys, broken):
    root = broken(train=spoil)
    file = root / "annotations" / "instances_train2017.json"
    status, out, _ = run(capsys, check_data.main, file, "--workers", 0, "--write", "mended.json")
    assert status == 1 and "mended: mended.json" in out
    content = json.loads(Path("mended.json").read_text())
    assert [image["file_name"] for image in content["images"]] == [f"{number}.png" for number in (1, 2, 3, 4)]
    before = len(json.loads(file.read_text())["annotations"])
    assert len(content["annotations"]) == before - 1


def test_a_config_names_data_too(capsys, rectangles):
    Path("mine.py").write_text(
        "from detkit.data.spec import Data\nfrom detkit.experiment import Experiment\nfrom detkit.zoo import yolo11\n"
        f"config = Experiment(model=yolo11('n'), data=Data(root={str(rectangles)!r}))\n"
    )
    status, out, _ = run(capsys, check_data.main, "mine.py", "data.limit=3", "--workers", 0)
    assert status == 0 and out.startswith("mine: train 3 images")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere",), "nowhere is neither a folder nor a config nor an annotation file"),
        (("data.limit=3",), "which data?"),
        ((".",), "is empty; name a folder"),
        (("a", "b", "--write", "c"), "check one at a time"),
    ],
)
def test_what_cannot_be_checked_is_a_sentence(capsys, words, message):
    status, _, err = run(capsys, check_data.main, *words)
    assert status == 2 and message in err


def test_missing_and_broken_images_do_not_stop_the_check(capsys, broken):
    root = broken()
    (root / "train2017" / "1.png").unlink()
    (root / "val2017" / "2.png").write_bytes(b"no picture")
    status, out, _ = run(capsys, check_data.main, root, "--workers", 1)
    assert status == 1 and "train 3 images" in out and "val 1 images" in out
    assert str(root / "train2017" / "1.png") in out and str(root / "val2017" / "2.png") in out


def test_splits_are_dealt_and_tabulated(capsys, rectangles):
    words = (rectangles, "dealt", "--val", "5", "--test", "0.25", "--seed", 3)
    status, out, _ = run(capsys, split_data.main, *words)
    assert status == 0
    rows = {
        line.split()[0]: [int(cell) for cell in line.split()[1:]] for line in out.splitlines()[1:] if line.split()[1].isdigit()
    }
    assert rows["images"] == [26 - 5 - 6, 5, 6] or sum(rows["images"]) == 26
    assert sum(rows["red"]) + sum(rows["blue"]) == sum(rows["boxes"])
    splits = open_data(Data(root="dealt"))
    assert len(splits.val) == 5 and splits.names == ("red", "blue")
    status, _, err = run(capsys, split_data.main, *words)
    assert status == 2 and "exists, and is not overwritten" in err


def test_groups_are_dealt_whole(capsys, rectangles):
    file = next((rectangles / "annotations").glob("instances_train*"))
    status, _, _ = run(capsys, split_data.main, file, "dealt", "--group", r"^\d", "--val", "0.4")
    assert status == 0
    first = [{Path(path).name[0] for path in part.paths} for part in open_data(Data(root="dealt"))[:2]]
    assert first[0] and first[1] and not first[0] & first[1]
    status, _, err = run(capsys, split_data.main, file, "again", "--group", "^x")
    assert status == 2 and "finds nothing in" in err
    status, _, err = run(capsys, split_data.main, file, "again", "seed=3", "extra")
    assert status == 2 and "'extra' is not an override" in err


def test_charts_are_well_formed_for_anything():
    names = ["a<b", *map(str, range(100))]
    for counts in ({}, {"train": np.zeros(101, np.int64)}, {"train": np.arange(101), "val": np.arange(101)}):
        chart = ElementTree.fromstring(class_bars(names, counts))
        assert "further classes" in "".join(chart.itertext())
    for shares in (np.zeros((0, 2)), np.array([[1, 1e-9], [0.5, 2]])):
        ElementTree.fromstring(size_map(shares, "train"))
