"""Tensors as PyTorch pickles them: views of storages, parameters, sparse tensors; all detached, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from detkit.weights.names import CONSTANTS
from detkit.weights.records import Budget, Refused, checked_items

STORED = {
    "BFloat16": torch.bfloat16,
    "Bool": torch.bool,
    "Byte": torch.uint8,
    "Char": torch.int8,
    "ComplexDouble": torch.complex128,
    "ComplexFloat": torch.complex64,
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "Int": torch.int32,
    "Long": torch.int64,
    "Short": torch.int16,
}
STORAGES = {f"torch.{word}Storage": dtype for word, dtype in STORED.items()} | {"torch.storage.UntypedStorage": torch.uint8}
"""Classes of storages: the type of their elements."""

DIMENSIONS = 16
LARGEST = 2**48
"""No size, stride or offset comes near it; beyond, PyTorch's own arithmetic may overflow."""
TENSOR_COST = 8
"""Units of work that a tensor stands for: its object is larger than others."""


class Storage(NamedTuple):
    """Where a tensor's elements lie.

    Attributes:
        memory: the bytes.
        dtype: of the elements.
    """

    memory: torch.UntypedStorage
    dtype: torch.dtype


def _tensor(
    budget: Budget,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    flags: Any = None,
) -> Tensor:
    """Return a view of a storage.

    Raises:
        Refused: it would reach beyond the storage, or is larger than it, as only an expanded tensor is.
    """
    if type(storage) is not Storage:
        raise Refused("makes a tensor of what is no storage")
    if flags:
        raise Refused("holds a tensor to be conjugated or negated when it is read; save it after resolve_conj(), resolve_neg()")
    budget.spend(TENSOR_COST)
    numbers = (offset, *checked_items(size, budget), *checked_items(stride, budget))
    if len(size) != len(stride) or len(size) > DIMENSIONS or not all(map(_is_count, numbers)):
        raise Refused("holds a tensor with an impossible shape")
    if not _is_count(math.prod(max(1, length) for length in size)):
        raise Refused("holds a tensor with an impossibly large shape")
    there, elements = storage.memory.nbytes() // storage.dtype.itemsize, math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if elements and (last >= there or elements > there):
        raise Refused(f"holds a tensor of shape {tuple(size)} that reaches beyond its storage of {there} elements")
    empty = torch.empty(0, dtype=storage.dtype)
    return empty.set_(storage.memory, offset, size, stride) if elements else empty.reshape(size)


def _tensor_of_dtype(
    budget: Budget,
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any,
    hooks: Any,
    dtype: Any,
    flags: Any = None,
) -> Tensor:
    """Return a view of a storage as another type."""
    if type(storage) is not Storage or type(dtype) is not torch.dtype:
        raise Refused("makes a tensor of what is no storage, or of no type")
    return _tensor(budget, Storage(storage.memory, dtype), offset, size, stride, flags=flags)


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < LARGEST


def _parameter(_: Budget, data: Any, *rest: Any) -> Tensor:
    """Return a parameter's tensor, without what else is known of it."""
    if not isinstance(data, Tensor):
        raise Refused("makes a parameter of what is no tensor")
    return data


def _sparse(budget: Budget, layout: Any, data: Any) -> Tensor:
    """Return a sparse tensor of coordinates and values."""
    budget.spend(TENSOR_COST)
    indices, values, size, *_ = checked_items(data, budget)
    if layout is not torch.sparse_coo or not isinstance(indices, Tensor) or not isinstance(values, Tensor):
        raise Refused("holds a sparse tensor that is not one of coordinates and values")
    if not all(map(_is_count, checked_items(size, budget))):
        raise Refused("holds a sparse tensor with an impossible shape")
    return torch.sparse_coo_tensor(indices, values, tuple(size), check_invariants=True)


def _layout(_: Budget, name: Any) -> Any:
    return CONSTANTS.get(name) if type(name) is str else None


def _size(budget: Budget, items: Any) -> tuple[Any, ...]:
    """Return a shape, which may be any numbers until it is a tensor's."""
    return tuple(checked_items(items, budget))


def _device(_: Budget, kind: Any, index: Any = None) -> str:
    """Return a device as text; everything is read to the CPU."""
    if type(kind) is not str or not (index is None or type(index) is int):
        raise Refused("names a device that is none")
    return kind if index is None else f"{kind}:{index}"


TENSORS: dict[str, Callable[..., Any]] = {
    "torch.Size": _size,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_sparse_tensor": _sparse,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
}
"""What a pickle calls -> what is called here."""
