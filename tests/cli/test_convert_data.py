"""``tools/convert_data.py`` as a user types it."""

import subprocess
import sys
from pathlib import Path

from detkit.cli import convert_data

ROOT = Path(__file__).resolve().parents[2]


def test_the_tool_converts_and_tells(rectangles, tmp_path):
    words = [str(ROOT / "tools" / "convert_data.py"), str(rectangles), "out", "--to", "yolo", "data.limit=3"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[-4].startswith("train 3 images, ") and lines[-3].startswith("val   3 images, ")
    assert lines[-2:] == ["2 classes: red, blue", "yolo data set: out"]
    assert (tmp_path / "out" / "data.yaml").is_file()
    assert len(list((tmp_path / "out" / "labels" / "train").iterdir())) == 3


def test_mistakes_are_a_sentence(rectangles, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert convert_data.main([str(rectangles), out, "--to", "yolo", "data.nmes=cat"]) == 2
    assert "no field 'nmes'; did you mean 'names'?" in capsys.readouterr().err
    assert convert_data.main([str(rectangles), str(rectangles), "--to", "voc"]) == 2
    assert "is not an empty folder" in capsys.readouterr().err
    assert convert_data.main([str(tmp_path / "nowhere"), out, "--to", "voc", "--link"]) == 2
    assert "does not exist" in capsys.readouterr().err
