"""``make demo``, ``make demo-yolo``: watch a detector learn drawn objects in a few minutes, then look at what it finds."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence

from detkit.cli.config import configured
from detkit.cli.run import INTERRUPTED, run
from detkit.cli.train import report
from detkit.data.presets import DEFAULT
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.overrides import override

CONFIG = "configs/rtdetr_hrami.py"
YOLO = (
    "recipe.epochs=10",
    "recipe.batch=8",
    "recipe.nominal_batch=none",
    "recipe.optimizer=AdamW(lr=0.002)",
    "recipe.warmup_epochs=1",
    "recipe.augment=Augment(mosaic=0, scale=0.1, saturation=0, value=0, hue=0)",
    "recipe.eval_every=2",
    "output=runs/demo",
)
"""What makes a short run out of the published recipe: a step for every batch, and little warm-up."""
RTDETR = (
    "model.backbone.depths=[1,1,1,1]",
    "model.backbone.width=32",
    "model.neck.width=128",
    "model.neck.intra.feedforward=512",
    "model.head.width=128",
    "model.head.feedforward=512",
    "model.head.depth=2",
    "model.head.queries=60",
    "model.head.denoising=30",
    "recipe.batch=8",
    "recipe.optimizer=AdamW(lr=0.001, weight_decay=0.0001)",
    "recipe.lr_scale={}",
    "recipe.clip=1.0",
    "recipe.warmup_steps=100",
    "recipe.schedule=cosine",
    "recipe.epochs=7",
    "recipe.eval_every=2",
    "recipe.augment=Augment(mosaic=0, scale=0.1, saturation=0, value=0, hue=0)",
    "output=runs/demo",
)
"""What makes a small detector and a short run from initial weights."""
FAMILIES = {"YOLO": YOLO, "RTDETR": RTDETR}
"""The demo's overrides by the type of a config's model."""
NEXT = """pictures  {pictures}

What next:
  your own boxes         tools/train.py {config} data.root=FOLDER
  what the network sees  tools/browse.py {config}
  another image          tools/predict.py {best} IMAGE
  the parts to swap      tools/list.py
  every setting          tools/train.py {config} --print"""


def main(argv: Sequence[str] | None = None) -> int:
    """Train, evaluate, draw, and say what to type next."""
    parser = argparse.ArgumentParser(
        prog="demo.py",
        usage="%(prog)s [CONFIG] [path=value ...]",
        description="Train on drawn objects for a few minutes, and look at the result.",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="CONFIG path=value",
        help=f"default: {CONFIG}; overrides follow the demo's own for its family",
    )
    return run(parser, _demo, argv)


def _demo(arguments: argparse.Namespace) -> int:
    from detkit.deploy.predict import load_predictor, predict_sources
    from detkit.deploy.sources import open_source
    from detkit.train.fit import fit

    config, *rest = arguments.words if arguments.words and "=" not in arguments.words[0] else [CONFIG, *arguments.words]
    published, name = configured(config, ())
    overrides = [*_shortening(config, published), *rest]
    experiment = override(published, overrides)
    if experiment.data.root is not None:
        raise UserError("the demo trains on drawn objects; for data of your own write tools/train.py CONFIG data.root=FOLDER")
    words = " ".join(shlex.quote(word) for word in overrides)
    print(f"this is: tools/train.py {config} {words}\n", flush=True)
    result = fit(experiment, name=name)
    if result.interrupted:
        print(report(result))
        return INTERRUPTED
    best, pictures = result.paths["best"], result.run / "pictures"
    predict_sources(load_predictor(best), open_source(f"data/{DEFAULT}/images/val_000[01]*.png"), pictures)
    print(report(result))
    print(NEXT.format(pictures=pictures, config=config, best=best))
    return 0


def _shortening(config: str, experiment: Experiment) -> tuple[str, ...]:
    """Return the overrides that make a demo of a config, which holds ``experiment``.

    Raises:
        UserError: there are none for models of its type, or they don't fit this one's parts.
    """
    family = type(experiment.model).__name__
    if family not in FAMILIES:
        raise UserError(f"{config}: the demo knows no settings for {family}; there are some for {', '.join(FAMILIES)}")
    try:
        override(experiment, FAMILIES[family])
    except UserError as error:  # about a field that the user never typed
        raise UserError(f"{config}: the demo's own settings don't fit this config; write tools/train.py {config}") from error
    return FAMILIES[family]
