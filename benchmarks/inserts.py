"""Every block and remixer, gated, in a detector that has weights: what the detector's predictions lose, which is nothing.

    python -m benchmarks.inserts

Prints a Markdown table of parts by detectors: the largest difference of boxes (in pixels) and scores to the original's, and the
share of the original's tensors that were loaded. Every tensor of the original is drawn at random, written to a file and loaded
through ``init``. A block is inserted after each level alone and after all at once, and the worst of these is shown.
"""

import tempfile
from pathlib import Path

import torch

from detkit.parts import DetectorSpec
from tests.test_slots import BLOCKS, REMIXERS, label
from tests.transplants import LEVELS, PUBLISHED, Original, difference

SIDE, CLASSES = 128, 80


def models(name: str, part: object) -> list[DetectorSpec]:
    """Return the detector with the part in every place that it can have."""
    if part in REMIXERS:
        return [PUBLISHED[name](remix=(part,))]
    places = [*([level] for level in LEVELS), LEVELS]
    return [PUBLISHED[name](after=dict.fromkeys(levels, part)) for levels in places]


def cell(original: Original, grown: list[DetectorSpec], images: torch.Tensor) -> str:
    """Return the largest difference and the smallest share of tensors loaded, over several detectors."""
    largest, least = 0.0, 1.0
    for model in grown:
        detector, report = original.carried_into(model, SIDE)
        largest = max(largest, difference(original.detector, detector, images))
        loaded, whole = report.found
        least = min(least, loaded / whole)
    return f"{largest:g}, {least:.0%}"


def main() -> None:
    """Print the table."""
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(2))
    with tempfile.TemporaryDirectory() as folder:
        originals = {name: Original.of(PUBLISHED[name](), CLASSES, Path(folder) / f"{name}.pth") for name in PUBLISHED}
        print("| part |", " | ".join(originals), "|\n|---|" + "---|" * len(originals))
        for part in [*BLOCKS, *REMIXERS]:
            cells = [cell(original, models(name, part), images) for name, original in originals.items()]
            print(f"| {label(part)} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
