"""The model card of a published detector: Markdown below the header that Hugging Face's hub reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from detkit.parts import Detector

UNKNOWN = "unknown"
AGPL = "agpl-3.0"
SCORES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100")
"""Of COCO's numbers that the card tells."""
COLUMNS = ("ap", "ap50", "precision", "recall", "boxes")
"""Of each class."""
RECIPE = ("epochs", "batch", "nominal_batch", "schedule", "warmup_epochs", "ema", "clip", "multi_scale", "freeze", "lr_scale")
"""Of the recipe that the card tells; config.json has all."""


class Licence(NamedTuple):
    """Under what a detector is given to others.

    Attributes:
        name: identifier, as the hub knows it.
        terms: of the weights that its training started from; empty where none are known.
        given: whoever publishes says so.
    """

    name: str
    terms: str
    given: bool

    @classmethod
    def of(cls, given: str, terms: str) -> Licence:
        """Return what can honestly be said: what was given, else AGPL where the initial weights were under it, else nothing."""
        inherited = AGPL if AGPL in terms.lower() else UNKNOWN
        return cls(given or inherited, terms, bool(given))


def card(name: str, config: Mapping[str, Any], detector: Detector, licence: Licence, pictures: Mapping[str, str]) -> str:
    """Return the text of a card.

    Args:
        name: of the folder.
        config: what ``config.json`` will say.
        detector: that is published.
        licence: that it is under.
        pictures: files beside it, and what they show.
    """
    header = yaml.safe_dump(dict(_header(name, config, licence)), sort_keys=False, allow_unicode=True, width=120)
    sections = [
        f"# {name}",
        "\n".join(_summary(config, detector)),
        "## Use\n\n" + _usage(config["modules"]),
        "## Scores\n\n" + "\n".join(_scores(config["metrics"])),
        *(f"![{text}]({file})" for file, text in pictures.items()),
        "## Training\n\n" + "\n".join(_training(config)),
        "## Licence\n\n" + "\n".join(_licence(licence)),
    ]
    return f"---\n{header}---\n\n" + "\n\n".join(sections) + "\n"


def _header(name: str, config: Mapping[str, Any], licence: Licence) -> Iterator[tuple[str, Any]]:
    model, metrics = config["experiment"]["model"], config["metrics"]
    parts = [model[slot]["type"] for slot in ("backbone", "neck", "head") if isinstance(model.get(slot), dict)]
    yield "license", licence.name
    yield "library_name", "detkit"
    yield "pipeline_tag", "object-detection"
    yield "tags", list(dict.fromkeys(word.lower() for word in ("detkit", "object-detection", model["type"], *parts)))
    if metrics is not None:
        told = [{"type": score.lower(), "name": score, "value": round(metrics[score], 4)} for score in _known(metrics)]
        data = {"name": dataset(config), "type": "object-detection", "split": "val"}
        result = {"task": {"type": "object-detection"}, "dataset": data, "metrics": told}
        yield "model-index", [{"name": name, "results": [result] if told else []}]


def dataset(config: Mapping[str, Any]) -> str:
    """Return what the data set is called: the last word of its folder."""
    return config["experiment"]["data"]["root"] or "detkit's drawn shapes"


def _known(metrics: Mapping[str, Any]) -> list[str]:
    """Return the scores that have boxes to be computed from."""
    return [score for score in SCORES if metrics[score] >= 0]


def _summary(config: Mapping[str, Any], detector: Detector) -> Iterator[str]:
    model = config["experiment"]["model"]
    height, width = config["input"]["size"]
    parameters = sum(parameter.numel() for parameter in detector.parameters())
    yield f"A detector of {len(config['classes'])} classes: {model['type']}, {parameters:,} parameters, trained with detkit.\n"
    yield f"* Input: {height}x{width} pixels (height, width), {config['input']['resize']}"
    half = "; weights are stored in half precision, so scores differ a little from those below"
    averaged = "averaged over training" if config["averaged"] else "of the last step"
    yield f"* Weights: {averaged}{half if config['precision'] == 'float16' else ''}"
    yield "* Classes: " + ", ".join(_cell(name) for name in config["classes"])


def _usage(modules: Sequence[str]) -> str:
    needed = "".join(f" --import {module}" for module in modules)
    own = f"\n\nIt needs parts that are not detkit's own: import {', '.join(modules)} first." if modules else ""
    return (
        '```python\nimport detkit\n\npredictor = detkit.load("FOLDER")  # this folder, or hf:user/name\n'
        f'print(predictor("photo.jpg"))\n```\n\n```sh\ntools/predict.py FOLDER photographs/{needed}\n'
        f"tools/eval.py FOLDER data.root=DATA{needed}\n```{own}"
    )


def _scores(metrics: Mapping[str, Any] | None) -> Iterator[str]:
    if metrics is None:
        yield "Not evaluated."
        return
    left = f", {metrics['unreadable']} unreadable ones left out" if metrics["unreadable"] else ""
    counts = f"{metrics['images']} validation images with {metrics['boxes']} boxes{left}"
    yield f"COCO's, on {counts}, after epoch {metrics['epoch']}.\n"
    yield from _table(_known(metrics), [[_number(metrics[score]) for score in _known(metrics)]])
    if metrics["best"]:
        best = {name: _number(value) for name, value in metrics["best"].items()}
        at = "precision {precision}, recall {recall}, F1 {F1} at confidence {confidence}"
        yield f"\nAt the confidence where mean F1 is best: {at.format(**best)}."
    yield ""
    rows = [[_cell(name), *(_number(item[column]) for column in COLUMNS)] for name, item in metrics["classes"].items()]
    yield from _table(["class", "AP", "AP50", "precision", "recall", "boxes"], rows)


def _training(config: Mapping[str, Any]) -> Iterator[str]:
    experiment = config["experiment"]
    recipe, init = experiment["recipe"], experiment["init"]
    yield f"On {dataset(config)}, {config['global_step']:,} steps; `config.json` has every field.\n"
    optimizer = recipe["optimizer"]
    rows = [["started from", ", ".join(init[key] for key in ("weights", "backbone") if init[key]) if init else "nothing"]]
    rows += [["optimizer", ", ".join(f"{key} {value}" for key, value in optimizer.items())]] if optimizer else []
    rows += [[name, recipe[name]] for name in RECIPE if recipe[name] not in (None, [], {})]
    rows += [["seed", experiment["seed"]]]
    rows += [[split, f"{p['images']} images, {p['boxes']} boxes, SHA-256 {p['sha256']}"] for split, p in config["data"].items()]
    rows += [[package, version] for package, version in config["versions"].items()]
    yield from _table(["", ""], [[_cell(str(cell)) for cell in row] for row in rows])


def _licence(licence: Licence) -> Iterator[str]:
    if licence.given:
        yield f"{licence.name}, as its publisher says."
    elif licence.name == UNKNOWN:
        yield "Not known: its publisher says nothing; ask them before you use it."
    else:
        yield f"{licence.name}, as that of the weights that it was trained from; its publisher says nothing else."
    if licence.terms:
        yield f"\nTraining started from other weights. Their terms: {_cell(licence.terms)}"
    yield "\ndetkit itself is Apache-2.0; that says nothing about the weights, nor about the images that they were trained on."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _cell(text: str) -> str:
    """Return a text that stays in its cell and is no markup."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    for letter in "\\|<>[]*_`":
        clean = clean.replace(letter, f"\\{letter}")
    return clean


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) and value >= 0 else f"{value:.3f}" if value >= 0 else "none"
