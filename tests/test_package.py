"""The wheel holds all that the commands need, outside the checkout too; importing stays cheap."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with nothing but the wheel's content, and the environment that imports from it."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], check=True)
    return folder, os.environ | {"PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}


def test_the_wheel_works_outside_the_checkout(installed):
    folder, environment = installed
    (folder / "mine.py").write_text((ROOT / "configs" / "yolo11n.py").read_text())

    def run(*words):
        program = [sys.executable, str(folder / "site" / "bin" / "detkit"), *words]
        return subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout

    where = subprocess.run(
        [sys.executable, "-c", "import detkit; print(detkit.__file__)"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert Path(where.strip()).is_relative_to(folder / "site")
    assert "CSPBackbone" in run("train", "mine.py", "--print")
    assert "Bottleneck" in run("list", "block")
    assert "train" in run("--help") and run("--version").startswith("detkit ")


def test_importing_detkit_is_quick():
    def seconds(program):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    torch_alone = min(seconds("import torch") for _ in range(2))
    assert min(seconds("import torch, detkit") for _ in range(2)) - torch_alone < 0.3
