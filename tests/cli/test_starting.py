"""Starting is quick: what takes seconds to import is imported by those alone who need it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "albumentations",
    "cv2",
    "hotcoco",
    "lightning",
    "matplotlib",
    "PIL",
    "pycocotools",
    "scipy",
    "sympy",
    "tensorboard",
    "timm",
    "torch._dynamo",
    "torchvision",
    "transformers",
    "triton",
}
SCRIPT = """
import sys
import torch  # some versions import sympy
before = set(sys.modules)
from detkit.cli.train import main
for words in {commands}:
    assert main(words) == (2 if "recipe.epoch=1" in words else 0)
    assert not (found := {heavy} & (set(sys.modules) - before)), (words, found)
"""


def test_a_typo_and_print_wait_for_nothing_heavy():
    configs = [str(ROOT / "configs" / f"{name}.py") for name in ("yolo11n", "rtdetr_hrami", "rtdetr_rmt_t")]
    commands = [[configs[0], "recipe.epoch=1"], *([config, "--print"] for config in configs)]
    script = SCRIPT.format(commands=commands, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "error: recipe: no field 'epoch'; did you mean 'epochs'?\n")


def test_importing_detkit_imports_neither_torch_nor_numpy():
    words = [sys.executable, "-c", f"import sys, detkit; print({HEAVY | {'torch', 'numpy', 'pydantic'}!r} & set(sys.modules))"]
    assert subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT).stdout == "set()\n"
