"""What each of two processes does for `tests.train.test_compiling`: it trains both families, plain and compiled.

LOCAL_RANK=0 ... python -m tests.train.compiled_processes DATA OUTPUT
"""

import sys

import torch

from detkit.train import compiling
from detkit.train.fit import fit
from tests.train.test_compiling import FAMILIES
from tests.train.tiny import tiny_experiment
from tests.train.two_processes import both


def main(root, output):
    torch.set_num_threads(1)
    compiling.BACKEND = "aot_eager"  # as quick as it gets with a backward pass of its own, which DDP cuts into buckets
    for name, model in FAMILIES.items():
        for kind in ("plain", "compiled"):
            settings = {"model": model, "epochs": 2, "multi_scale": 0, "nominal_batch": None}
            experiment = both(tiny_experiment(root, f"{output}/{name} {kind}", **settings))
            fit(experiment.model_copy(update={"compile": kind == "compiled"}), progress=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
