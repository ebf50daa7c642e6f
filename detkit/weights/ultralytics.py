"""Names of YOLOv8's and YOLO11's tensors in the layer lists of their publisher.

A layer list numbers backbone, top, neck and head from 0 on, layers without weights included. Those numbers are known to
this module alone; they follow from the number of levels (p3 to p5, or p2 to p5) and of top stages (YOLOv8 one, YOLO11 two).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from detkit.errors import UserError

Rules = tuple[tuple[str, str], ...]

TOP = 9
"""Number of the first top stage, after the stem and four pairs of downsampling and stage."""
TOPS = {1: ("sppf",), 2: ("sppf", "c2psa")}
PROJECTION = ".dfl.conv.weight"
"""Ends the name of the fixed projection 0, 1, ... of the bins, which is no parameter here."""

WORDS: Rules = (
    (r"\bbn\b", "norm"),
    (r"\battn\b", "attention"),
    (r"\bproj\b", "project"),
    (r"\bpe\b", "position"),
    (r"\bffn\.0\b", "feedforward.expand"),
    (r"\bffn\.1\b", "feedforward.reduce"),
)
BOTTLENECK: Rules = ((r"\bcv1\b", "first"), (r"\bcv2\b", "second"), *WORDS)
SPLIT_CSP: Rules = ((r"^cv1\b", "split"), (r"^cv2\b", "merge"), (r"^m\b", "blocks"), *BOTTLENECK)
BYPASS_CSP: Rules = ((r"^cv1\b", "main"), (r"^cv2\b", "side"), (r"^cv3\b", "merge"), (r"^m\b", "blocks"), *BOTTLENECK)
POOLING: Rules = ((r"^cv1\b", "reduce"), (r"^cv2\b", "merge"), *WORDS)
BRANCH: Rules = (
    (r"^([01])\.0\b", r"\1.depthwise"),
    (r"^([01])\.1\b", r"\1.pointwise"),
    (r"^0\b", "first"),
    (r"^1\b", "second"),
    (r"^2\b", "predict"),
    *WORDS,
)


def recognises(state: Collection[str]) -> bool:
    """Say whether the names are a layer list with YOLOv8's or YOLO11's backbone and head."""
    return f"model.{TOP}.cv1.conv.weight" in state and any(name.endswith(PROJECTION) for name in state)


def rename(state: Collection[str]) -> dict[str, str]:
    """Return the names of a layer list -> ours; what has no role keeps its name, and the projection is left out.

    Raises:
        UserError: the layers are not YOLOv8's or YOLO11's.
    """
    roles = {prefix: (role, rules) for prefix, role, rules in _roles(state)}
    names = {}
    for name in state:
        words = name.split(".")
        prefix = next((start for start in (".".join(words[:4]), ".".join(words[:2])) if start in roles), None)
        if prefix is None:
            names[name] = name
        elif not name.endswith(PROJECTION):
            role, rules = roles[prefix]
            tail = name[len(prefix) + 1 :]
            for pattern, replacement in rules:
                tail = re.sub(pattern, replacement, tail)
            names[name] = f"{role}.{tail}"
    return names


def _roles(state: Collection[str]) -> Iterator[tuple[str, str, Rules]]:
    """Yield the prefix of every layer that has weights, its role, and how names inside it are rewritten."""
    if not recognises(state):
        raise UserError(
            f"weights: not a layer list of YOLOv8 or YOLO11: no 'model.{TOP}.cv1.conv.weight' or no '*{PROJECTION}'"
        )
    head = next(int(name.split(".")[1]) for name in state if name.endswith(PROJECTION))
    levels = 1 + max(int(name.split(".")[3]) for name in state if name.startswith(f"model.{head}.cv2."))
    tops = head - TOP - 6 * (levels - 1)
    if tops not in TOPS:
        raise UserError(f"weights: {levels} levels and a head at layer {head} are neither YOLOv8's nor YOLO11's layout")
    bodies = {2 * index + 2: f"backbone.stages.{index}.body" for index in range(4)}
    bodies |= {TOP + index: f"top.{kind}" for index, kind in enumerate(TOPS[tops])}
    downsamplings = {2 * index + 1: f"backbone.stages.{index}.downsample" for index in range(4)}
    number, finest = TOP + tops, 6 - levels
    for level in range(4, finest - 1, -1):  # upsampling, concatenation, body
        bodies[number + 2] = f"neck.top_down.p{level}.body"
        number += 3
    for level in range(finest + 1, 6):  # downsampling, concatenation, body
        downsamplings[number], bodies[number + 2] = f"neck.bottom_up.p{level}.downsample", f"neck.bottom_up.p{level}.body"
        number += 3
    yield "model.0", "backbone.stem", WORDS
    for layer, role in downsamplings.items():
        yield f"model.{layer}", role, WORDS
    for layer, role in bodies.items():
        yield f"model.{layer}", role, POOLING if role == "top.sppf" else SPLIT_CSP
        for found in (re.match(rf"model\.{layer}\.m\.(\d+)\.cv3\.conv", name) for name in state):
            if found:
                yield f"model.{layer}.m.{found[1]}", f"{role}.blocks.{found[1]}", BYPASS_CSP
    yield f"model.{head}", "head", WORDS
    for level in range(levels):
        yield f"model.{head}.cv2.{level}", f"head.box_branch.p{finest + level}", BRANCH
        yield f"model.{head}.cv3.{level}", f"head.class_branch.p{finest + level}", BRANCH
