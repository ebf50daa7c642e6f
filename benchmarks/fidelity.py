"""Every backbone of the articles: its parameters and multiply-adds, and how far it is from its authors' implementation.

    python -m benchmarks.fidelity

Prints a Markdown table. Parameters and multiply-adds (at 224 pixels, in millions, as trained) are the backbone's alone, without
the classifier. The difference is the largest in float64 over all levels, as a share of the level's largest value, where
``tests/golden`` has a file of the size.
"""

import json
from typing import get_args

import numpy as np
import torch

from detkit.backbones.conv2former import Conv2Former
from detkit.backbones.emo import EMO
from detkit.backbones.repvit import RepViT
from detkit.backbones.rmt import RMT
from detkit.profiling.flops import count_flops
from detkit.weights import load_weights
from tests.golden.deterministic import fill, image
from tests.golden.test_detectors import HERE, relative_error

SIZE = 224


LEVELS = {"rmt_t": (1, 2, 3, 4), "repvit_m0_9": (2, 6, 22, 26), "conv2former_n": (0, 1, 2, 3), "emo_1m": (1, 2, 3, 4)}
"""Numbers of the outputs in each golden file that are the backbone's levels."""


@torch.no_grad()
def difference(name: str, backbone: torch.nn.Module) -> str:
    """Return the largest relative difference to the golden file ``name``; a dash where there is none."""
    if name not in LEVELS:
        return "-"
    record, samples = json.loads((HERE / f"{name}.json").read_text()), np.load(HERE / f"{name}.npz")
    filled = {key: shape for key, shape in record["state"].items() if key not in record["not_filled"]}
    state = {key: torch.tensor(fill(key, tuple(shape), record.get("gain", 1.0))) for key, shape in filled.items()}
    backbone = backbone.double().eval()
    load_weights(backbone, state, source="official")
    maps = backbone(torch.tensor(image(tuple(record["inputs"][0]), seed=1)))
    errors = (relative_error(x.numpy(), samples, f"out{index}") for index, x in zip(LEVELS[name], maps, strict=True))
    return f"{max(errors):.0e}"


def main() -> None:
    """Print the table."""
    print("| backbone | parameters | MACs | difference |\n|---|---|---|---|")
    for family in (RMT, RepViT, Conv2Former, EMO):
        for size in get_args(family.model_fields["size"].annotation):
            with torch.device("meta"):
                backbone = family(size=size).build().eval()
                products = count_flops(backbone, torch.zeros(1, 3, SIZE, SIZE)).products
            parameters = sum(parameter.numel() for parameter in backbone.parameters())
            name = f"{family.__name__.lower()}_{size}"
            row = f"{family.__name__} {size}", f"{parameters:,}", f"{products / 2e6:,.1f}"
            print("|", " | ".join((*row, difference(name, family(size=size).build()))), "|")


if __name__ == "__main__":
    main()
