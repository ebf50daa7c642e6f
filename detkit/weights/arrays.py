"""NumPy's arrays and scalars, rebuilt from their bytes as tensors and numbers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detkit.weights.records import Budget, Record, Refused, checked_items

ARRAY_COST = 8
"""Units of work that an array stands for, and bytes copied for one unit."""
CODE = re.compile(r"[?bhilqBHILQefd]|[biuf][1248]|[SU]\d{1,6}")
"""Types of NumPy's numbers and texts; no objects."""


def empty_array(budget: Budget) -> Tensor:
    """Return what a filled array's elements are given to."""
    budget.spend(ARRAY_COST)
    return torch.empty(0)


def filled_array(budget: Budget, state: Any) -> Tensor:
    """Return the tensor of an array's state."""
    _, shape, dtype, column_major, data = checked_items(state, budget)
    return _from_bytes(budget, data, dtype, shape, "F" if column_major else "C")


def _from_bytes(budget: Budget, data: Any, dtype: Any, shape: Any, order: Any = "C") -> Tensor:
    """Return a tensor of NumPy's bytes; an empty one for texts and objects, which no tensor holds."""
    kind = _type(dtype)
    if isinstance(data, list) or kind is None or kind.kind in "SU":
        return torch.empty(0)
    data = _raw(data)
    budget.spend(len(data) // ARRAY_COST)
    values = np.frombuffer(data, kind).reshape(tuple(checked_items(shape, budget)), order="F" if order == "F" else "C")
    return torch.from_numpy(values.astype(kind.newbyteorder("="), order="C"))


def _scalar(_: Budget, dtype: Any, data: Any = None) -> Any:
    """Return a scalar as a number or a text; a record where it is neither."""
    kind = _type(dtype)
    return Record("numpy.generic") if kind is None else np.frombuffer(_raw(data), kind, 1)[0].item()


def _dtype(_: Budget, *args: Any) -> Record:
    """Return a record of an element type; its state says the byte order."""
    return Record("numpy.dtype", args)


def _type(dtype: Any) -> np.dtype[Any] | None:
    """Return the type that a record describes; None where it is none of plain numbers or texts."""
    code = dtype.args[0] if type(dtype) is Record and dtype.name == "numpy.dtype" else None
    if type(code) is not str or not CODE.fullmatch(code):
        return None
    order = dtype.state[1] if type(dtype.state) is tuple else None
    return np.dtype(code).newbyteorder(order if order in ("<", ">") else "=")


def _raw(data: Any) -> bytes:
    """Return bytes, which Python 2 stored as text."""
    if type(data) not in (bytes, str):
        raise Refused(f"holds an array of which the bytes are a {type(data).__name__}")
    return data.encode("latin-1") if type(data) is str else bytes(data)


ARRAYS: dict[str, Callable[..., Any]] = {
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_bytes,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy.core.numeric._frombuffer": _from_bytes,
    "numpy.dtype": _dtype,
}
"""What a pickle calls -> what is called here."""
