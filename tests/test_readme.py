"""The README's words are kept: its commands run, and the translation has the same headings and commands."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from detkit.checks.contracts import CONTRACTS
from tests.train.tiny import write_rectangles

ROOT = Path(__file__).resolve().parents[1]
FILES = ("README.md", "README.zh-CN.md")
SMALL = {
    "train.py": ["recipe.epochs=1", "recipe.batch=4", "data.size=64", "data.limit=4", "data.workers=0", "plots=false"],
    "browse.py": ["data.size=64", "data.limit=4", "data.workers=0"],
    "profile.py": ["--size=64", "--repeats=1"],
}
"""What a test adds to a tool's command to be quick."""
NARROW = [
    "model.backbone.width=8",
    "model.neck.width=32",
    "model.neck.intra.feedforward=32",
    "model.head.width=32",
    "model.head.feedforward=32",
]
"""What makes RT-DETR-R18 small, so that its checkpoints are soon written."""


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name, language):
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", text(name), re.DOTALL | re.MULTILINE)
    return [block for kind, block in fences if kind == language]


def commands(name):
    return [line.strip() for block in blocks(name, "sh") for line in block.splitlines() if line.strip()]


def program(words):
    """Return the Python block that holds the words."""
    [found] = [block for block in blocks("README.md", "python") if words in block]
    return found


def outline(name):
    return [len(marks) for marks in re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text(name), flags=re.DOTALL), re.MULTILINE)]


def test_the_translation_has_the_same_headings_commands_code_and_tables():
    english, chinese = FILES
    assert outline(english) == outline(chinese)
    assert commands(english) == commands(chinese)
    for language in ("python", ""):
        strip = [re.sub(r'""".*?"""', "", block, flags=re.DOTALL) for block in blocks(english, language)]
        assert strip == [re.sub(r'""".*?"""', "", block, flags=re.DOTALL) for block in blocks(chinese, language)]
    rows = [re.findall(r"^\|", text(name), re.MULTILINE) for name in FILES]
    assert len(rows[0]) == len(rows[1])
    figures = [re.findall(r"\d+\.\d+", text(name)) for name in FILES]
    assert figures[0] == figures[1], "the figures differ"


def test_every_part_is_in_the_table():
    parts = [part for family in CONTRACTS for part in family.parts().values() if part.__module__.startswith("detkit.")]
    own = {part.__name__ for part in parts} - {"YOLO", "RTDETR"}
    table = text("README.md").partition("\n## Parts\n")[2].partition("\n## ")[0]
    missing = own - set(re.findall(r"`(\w+)`", table))
    assert "RMT" in own and not missing, missing


def test_the_translation_is_chinese():
    prose = re.sub(r"```.*?```", "", text("README.zh-CN.md"), flags=re.DOTALL)
    assert len(re.findall(r"[\u4e00-\u9fff]", prose)) > 500


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with the repository's tools and configs, ``~/mydata``, photographs, and a small run to use."""
    here = tmp_path_factory.mktemp("checkout")
    for name in ("tools", "configs", "Makefile", "pyproject.toml", "detkit"):
        (here / name).symlink_to(ROOT / name)
    write_rectangles(here / "mydata")
    shutil.copytree(here / "mydata" / "val2017", here / "photographs")
    shutil.copy(here / "photographs" / "1.png", here / "photographs" / "1.jpg")
    (here / "venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        (here / "venv" / part.name).symlink_to(part)
    (here / "venv" / "installed").unlink(missing_ok=True)
    (here / "venv" / "installed").touch()  # as `make setup` leaves it
    (here / "my_se.py").write_text(program("class SE("), encoding="utf-8")
    return here


def execute(here, command):
    words = shlex.split(command)
    if words == ["make", "test"]:
        words = ["make", "--dry-run", "test"]  # it is what runs this test
    elif words == ["make", "demo"]:
        small = ["recipe.epochs=1", "recipe.batch=4", "data.limit=8", "data.size=64", "data.workers=0"]
        words = [*words, f"VENV={here / 'venv'}", f"DEMO={' '.join(small)}"]
    else:
        tool = Path(words[0]).name
        added = [*SMALL.get(tool, []), *(NARROW if tool == "train.py" and "configs/rtdetr" in command else [])]
        data = [] if any(w.startswith("data.root=") for w in words) or tool != "train.py" else ["data.root=~/mydata"]
        words = [
            sys.executable,
            *words,
            *(data if "--resume" not in words else []),
            *(added if "--resume" not in words else []),
        ]
    environment = os.environ | {"HOME": str(here), "OMP_NUM_THREADS": "1"}
    words = [word.replace("~/", f"{here}/") if not word.startswith("data.root") else word for word in words]
    return subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True, check=False)


def test_every_command_runs(checkout):
    resumed = "tools/train.py --resume runs/rtdetr_hrami/0 recipe.epochs=60"
    ran = commands("README.md")
    assert resumed in ran and len(ran) > 12
    for command in ran:
        done = execute(checkout, command.replace("recipe.epochs=60", "recipe.epochs=2") if command == resumed else command)
        assert done.returncode == 0, f"{command}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}"
        assert "Traceback" not in done.stderr, command


def test_the_python_example_runs(checkout):
    if not (checkout / "runs" / "rtdetr_hrami" / "0" / "best.ckpt").is_file():
        execute(checkout, "tools/train.py configs/rtdetr_hrami.py data.root=~/mydata")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", program("detkit.load(")]
    done = subprocess.run(words, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_config_shown_is_the_config():
    written = (ROOT / "configs" / "rtdetr_hrami.py").read_text(encoding="utf-8")
    assert program('rtdetr("r18"').strip() == written.split('"""')[2].strip()


def test_the_error_shown_is_the_error_given(checkout):
    shown = blocks("README.md", "")[0].strip()
    done = execute(checkout, "tools/train.py configs/yolo11n.py recipe.epoch=50")
    assert done.returncode == 2 and done.stderr.strip() == shown


def test_the_costs_shown_are_the_costs_counted(checkout):
    [shown] = [block for block in blocks("README.md", "") if block.startswith("detector ")]
    [command] = [
        line for line in commands("README.md") if line.startswith("tools/profile.py") and line.endswith("repvit_m0_9.py")
    ]
    words = [sys.executable, *shlex.split(command), "--no-latency"]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.stdout.startswith(shown), done.stdout + done.stderr


def test_every_dependency_is_explained():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^    "([a-z-]+)>=', project, re.MULTILINE)
    assert named and all(name in text("README.md").split("## Dependencies")[1] for name in named)
