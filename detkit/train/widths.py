"""Class branches as wide as those of the file that a run starts from.

The published width of class branches follows from the number of classes where that is large (`DenseHead.class_width`). With
other classes than the file's, the smallest detectors would have others, and lose all that was learnt there.
"""

from __future__ import annotations

from pathlib import Path

from detkit.errors import UserError
from detkit.experiment import Experiment
from detkit.heads.dense import DenseHead
from detkit.nn.weightless import weightless
from detkit.overrides import override
from detkit.weights.class_rows import class_tensors
from detkit.weights.load import by_role
from detkit.weights.read import read

FIELD = "model.head.class_width"
BOXES = "head.box_branch."
"""Begins the names of what sits beside the class branches."""
INPUTS = 1
"""Axis of a weight."""


def as_wide_as_init(experiment: Experiment, num_classes: int) -> tuple[Experiment, str]:
    """Return the experiment with ``model.head.class_width`` as in the file of ``init``, and a sentence that says so.

    Only where the config leaves it open and the file's head is like the model's but for its classes; else the experiment is
    returned as it is, and no words.

    Raises:
        UserError: the file cannot be used.
    """
    init, head = experiment.init, getattr(experiment.model, "head", None)
    if init is None or init.weights is None or not isinstance(head, DenseHead) or head.class_width is not None:
        return experiment, ""
    detector = weightless(experiment.model, num_classes)
    try:
        state = by_role(detector, read(Path(init.weights).expanduser()).state)
    except UserError as error:
        raise UserError(f"init={init.weights}: {error}") from None
    own = detector.state_dict()
    boxes = [own[name].shape == tensor.shape for name, tensor in state.items() if name.startswith(BOXES)]
    rows = [name for name in class_tensors(detector) if name in state and own[name].dim() == state[name].dim() > INPUTS]
    widths = {(own[name].shape[INPUTS], state[name].shape[INPUTS]) for name in rows}
    if not boxes or not all(boxes) or len(widths) != 1:
        return experiment, ""
    [(here, there)] = widths
    if here == there:
        return experiment, ""
    return override(experiment, [f"{FIELD}={there}"]), (
        f"{FIELD}={there}, not the {here} of {num_classes} classes: as wide as in {init.weights}, which can be loaded so; "
        f"{FIELD}={here} keeps the published width"
    )
