"""How long a command takes to start, beyond importing torch: fresh processes in turn, medians of the differences.

OMP_NUM_THREADS=1 python benchmarks/starting.py [--rounds 9]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
TRAIN = [str(ROOT / "tools" / "train.py")]
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "import detkit": ["-c", "import torch, detkit"],
    "train.py yolo11n --print": [*TRAIN, str(ROOT / "configs/yolo11n.py"), "--print"],
    "train.py yolo11x --print": [*TRAIN, str(ROOT / "configs/yolo11x.py"), "--print"],
    "train.py rtdetr_hrami --print": [*TRAIN, str(ROOT / "configs/rtdetr_hrami.py"), "--print"],
    "train.py yolo11n recipe.epoch=1": [*TRAIN, str(ROOT / "configs/yolo11n.py"), "recipe.epoch=1"],
}


def seconds(words: list[str], processor: bool) -> float:
    before = children() if processor else time.perf_counter()
    subprocess.run([sys.executable, *words], capture_output=True, check="recipe.epoch=1" not in words)
    return (children() if processor else time.perf_counter()) - before


def children() -> float:
    used = os.times()
    return used.children_user + used.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--processor", action="store_true")
    arguments = parser.parse_args()
    taken = []
    for _ in range(arguments.rounds + 1):
        taken.append({name: seconds(words, arguments.processor) for name, words in COMMANDS.items()})
    for name in COMMANDS:
        beyond = median(times[name] - times["import torch"] for times in taken[1:])
        print(f"{name:44} {median(times[name] for times in taken[1:]):5.2f} s, beyond importing torch {beyond:5.2f} s")


if __name__ == "__main__":
    main()
