"""Images a second of two processes of one thread each and of one, in turn: training as tools/train.py has it, loading included.

    python benchmarks/processes.py [--rounds 3] [--steps 6] [--size 320]

Every step ends in an optimizer step, so that two processes exchange gradients in each. What the machine allows at best is told
by two separate runs at once, which exchange nothing. A run's first epoch, with its start, does not count.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
CASES = {"configs/yolo11n.py": 8, "configs/rtdetr_r18.py": 4}
"""Images a batch and process."""
EPOCHS = 4
"""Neither the first nor the last, with its evaluation, counts."""


def begin(config, processes, folder, options):
    """Start a run, which has the same number of steps whatever the number of processes."""
    batch = CASES[config]
    words = [
        f"output={folder}",
        f"data.size={options.size}",
        f"data.limit={batch * processes * options.steps}",
        "data.workers=0",
        f"recipe.batch={batch}",
        "recipe.nominal_batch=none",
        f"recipe.epochs={EPOCHS}",
        f"recipe.eval_every={EPOCHS}",
        "plots=false",
        "trainer.accelerator=cpu",
        "trainer.limit_val_batches=1",
        f"trainer.devices={processes}",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "tools" / "train.py"), str(ROOT / config), *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def speed(config, processes, runs, options):
    """Return the images a second of so many runs at once, all together."""
    with tempfile.TemporaryDirectory() as folder:
        started = [begin(config, processes, Path(folder) / str(number), options) for number in range(runs)]
        for run in started:
            _, error = run.communicate()
            if run.returncode:
                raise SystemExit(error.decode())
        files = Path(folder).glob("*/*/*/metrics.csv")
        seconds = [float(row["seconds"]) for file in files for row in list(csv.DictReader(file.open()))[1:-1]]
    return runs * processes * CASES[config] * options.steps / median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="of an epoch")
    parser.add_argument("--size", type=int, default=320, help="of the input")
    options = parser.parse_args()
    print("| config | images/s, one process | two | ratio | two runs apart | ratio |\n|---|---|---|---|---|---|", flush=True)
    for config in CASES:
        kinds = ((1, 1), (2, 1), (1, 2))
        turns = [[speed(config, processes, runs, options) for processes, runs in kinds] for _ in range(options.rounds)]
        one, two, apart = (median(turn[kind] for turn in turns) for kind in range(3))
        gain, best = (median(turn[kind] / turn[0] for turn in turns) for kind in (1, 2))
        print(f"| {config} | {one:.1f} | {two:.1f} | {gain:.2f} | {apart:.1f} | {best:.2f} |", flush=True)


if __name__ == "__main__":
    main()
