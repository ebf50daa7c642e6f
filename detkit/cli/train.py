"""``tools/train.py CONFIG [path=value ...]``: train a config, or go on with a run."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detkit.cli.config import configured, import_modules, load_config
from detkit.cli.run import INTERRUPTED, UNSAVED, run, take_modules
from detkit.cli.show import fit_lines, outline
from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.overrides import override

if TYPE_CHECKING:
    from detkit.train.fit import Result


def main(argv: Sequence[str] | None = None) -> int:
    """Train; print where things are and COCO's numbers at the end."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        usage="%(prog)s CONFIG [path=value ...] [--print] [--resume RUN] [--import MODULE]",
        description="Train a detector, or go on with a run.",
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="configs/yolo11n.py, or a run's config.json")
    parser.add_argument("overrides", nargs="*", metavar="path=value", help="recipe.epochs=50 model.backbone=RepViT ...")
    parser.add_argument("--print", dest="show", action="store_true", help="show the resolved experiment and stop")
    parser.add_argument("--resume", metavar="RUN", help="go on with this run (runs/yolo11n/0) under its own stored experiment")
    take_modules(parser)
    return run(parser, _train, argv)


def _train(arguments: argparse.Namespace) -> int:
    import_modules(arguments.modules)
    experiment, name = _experiment(arguments)
    if arguments.show:
        from detkit.train.roles import check_model

        check_model(experiment)
        if experiment.trainer:
            from detkit.train.options import check_trainer  # imports lightning, seconds

            check_trainer(experiment.trainer)
        if experiment.recipe.augment.extra:
            from detkit.data.extra import check_transforms  # imports albumentations

            check_transforms(experiment.recipe.augment.extra, experiment.data.shape)
        print("\n".join([outline(experiment), *fit_lines(experiment.model)]))
        return 0
    from detkit.train.fit import fit  # a typo must not wait for lightning

    result = fit(experiment, name=name, resume=Path(arguments.resume).expanduser() if arguments.resume else None)
    if result.rank == 0:
        print(report(result))
    for path in result.unsaved:
        print(f"error: {path} could not be saved; what is there is older, or nothing", file=sys.stderr)
    return UNSAVED if result.unsaved else INTERRUPTED if result.interrupted else 0


def _experiment(arguments: argparse.Namespace) -> tuple[Experiment, str]:
    """Return the experiment with its overrides, and the run's name."""
    config, overrides = arguments.config, list(arguments.overrides)
    if arguments.resume is None:
        return configured(config, overrides)
    stored = Path(arguments.resume).expanduser() / "config.json"
    if not stored.is_file():
        raise UserError(
            f"--resume {arguments.resume}: no config.json there; give a run folder, such as runs/yolo11n/0 (one that was "
            "killed before its first step has none, and nothing to go on from: start it anew; where machines share no folder, "
            "each needs a copy)"
        )
    if config is not None and "=" in config:
        overrides.insert(0, config)
    elif config is not None:
        load_config(config)  # it may define or import parts of the run
    return override(load_config(str(stored)), overrides), stored.parent.parent.name


def report(result: Result) -> str:
    """Return the closing lines of a run: COCO's numbers of the best epoch, and where things are."""
    from detkit.evaluation.coco import format_table  # pycocotools is not needed before

    lines = []
    if result.best is not None:
        lines += [format_table(result.best), f"best epoch {result.best_epoch} by AP, in {result.seconds / 60:.1f} minutes"]
    elif not result.interrupted:
        lines.append("no AP: the validation images have no boxes")
    width = max(map(len, result.paths), default=0)
    lines += [f"{label:{width}} {path}" for label, path in result.paths.items()]
    if result.interrupted:
        lines.append(f"interrupted; to go on: {resuming(result.run)}")
    return "\n".join(lines)


def resuming(run: Path) -> str:
    """Return the command that goes on with a run, in the words in which this one was started."""
    program = ["detkit", "train"] if Path(sys.argv[0]).name == "detkit" else ["tools/train.py"]
    modules = json.loads((run / "config.json").read_text(encoding="utf-8"))["modules"]
    return shlex.join([*program, "--resume", str(run), *(word for module in modules for word in ("--import", module))])
